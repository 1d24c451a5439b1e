# calls: fs.list but not proc.list
f = fs if len("x") else proc
result = f.list("/")
