# calls: fs.read
def g():
    yield from [fs.read("/x")]
result = list(g())
