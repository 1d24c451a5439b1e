# calls: fs.read
result = (None or fs).read("/x")
