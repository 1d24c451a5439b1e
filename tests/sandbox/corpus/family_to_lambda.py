# dynamic: fs
result = (lambda f: f.read("/x"))(fs)
