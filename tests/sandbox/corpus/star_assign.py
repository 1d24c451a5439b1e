# dynamic: fs
a, *b = [1, fs]
result = b[0].read("/x")
