# calls: fs.read
def g(x=fs.read("/x")):
    return x
result = g()
