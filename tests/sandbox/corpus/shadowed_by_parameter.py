# calls:
def f(fs):
    return fs.upper()
result = f("x")
