# calls: fs.read
try:
    1 // 0
except ZeroDivisionError:
    pass
finally:
    fs.read("/x")
