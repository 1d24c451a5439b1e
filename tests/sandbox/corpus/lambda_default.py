# dynamic: fs
g = lambda f=fs: f.read("/x")
result = g()
