-- calls: fs.space
return fs.space("/")
