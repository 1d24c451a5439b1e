# dynamic: fs
for n, f in zip(["x"], [fs]):
    result = f.read("/x")
