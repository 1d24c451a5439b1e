# dynamic: fs
def g():
    yield fs
result = [f.read("/x") for f in g()]
