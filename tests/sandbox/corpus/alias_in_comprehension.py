# calls: fs.list proc.list
result = [f.list("/") for f in [fs, proc]]
