# calls: fs.space
result = fs.space("/")
