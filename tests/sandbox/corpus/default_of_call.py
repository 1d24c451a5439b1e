# calls: fs.read
def f(go=fs.read):
    return go("/x")
result = f()
