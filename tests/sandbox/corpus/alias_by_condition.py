# calls: fs.list proc.list
f = fs if len("x") else proc
result = f.list("/")
