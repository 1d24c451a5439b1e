# calls: fs.read
def s():
    global f
    f = fs
s()
result = f.read("/x")
