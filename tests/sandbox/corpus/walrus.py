# calls: fs.read
result = (f := fs).read("/x")
