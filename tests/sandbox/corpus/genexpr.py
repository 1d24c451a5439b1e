# calls: fs.read
g = (fs.read(p) for p in ["/x"])
result = list(g)
