# calls: fs.list fs.read
result = [f("/x") for f in (fs.read, fs.list)]
