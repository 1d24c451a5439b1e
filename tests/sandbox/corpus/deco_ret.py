# dynamic: fs
def d(_):
    return fs
@d
def g():
    pass
result = g.read("/x")
