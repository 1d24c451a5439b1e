# calls: fs.read
def g(*a):
    return a[0]("/x")
result = g(fs.read)
