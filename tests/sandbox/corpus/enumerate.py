# dynamic: fs
for n, f in enumerate([fs]):
    result = f.read("/x")
