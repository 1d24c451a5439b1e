# calls: fs.read
try:
    1/0
except (ZeroDivisionError if fs.read("/x") else ValueError):
    result = 1
