# calls: fs.list
def f(x=fs.list("/")):
    return 1
result = f()
