# calls: fs.read
f = lambda p: fs.read(p)
result = f("/x")
