# calls: fs.read
result = fs.read(**{"path": "/x"})
