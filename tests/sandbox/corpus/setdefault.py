# dynamic: fs
d = {}
d.setdefault("f", fs)
result = d["f"].read("/x")
