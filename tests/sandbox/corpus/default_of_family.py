# dynamic: fs
def f(go=fs):
    return go.read("/x")
result = f()
