# calls: fs.read
def g(*, f=fs.read):
    return f("/x")
result = g()
