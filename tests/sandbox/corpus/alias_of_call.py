# calls: fs.read
read = fs.read
result = read("/x")
