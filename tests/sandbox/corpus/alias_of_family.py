# calls: fs.list
files = fs
result = files.list("/x")
