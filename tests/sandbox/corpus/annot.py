# calls: fs.read
f: object = fs
result = f.read("/x")
