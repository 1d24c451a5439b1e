# calls: fs.list
f = None or fs
result = f.list("/")
