# dynamic: fs
def g(**k):
    return k["f"].read("/x")
result = g(f=fs)
