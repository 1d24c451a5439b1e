# calls: fs.list
result = [x for x in (fs.list(p) for p in ["/"])]
