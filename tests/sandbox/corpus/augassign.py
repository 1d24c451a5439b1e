# dynamic: fs
l = []
l += [fs]
result = l[0].read("/x")
