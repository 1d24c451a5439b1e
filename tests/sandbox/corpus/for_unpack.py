# calls: fs.read
for n, f in [("x", fs)]:
    result = f.read("/x")
