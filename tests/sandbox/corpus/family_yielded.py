# dynamic: fs
def each():
    yield fs
result = [f.read("/x") for f in each()]
