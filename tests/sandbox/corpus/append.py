# calls: fs.read
l = []
l.append(fs.read)
result = l[0]("/x")
