# calls: fs.read
def d(f):
    return f
@d
def g():
    return fs.read("/x")
result = g()
