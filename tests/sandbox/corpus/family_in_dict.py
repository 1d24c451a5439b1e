# dynamic: fs
result = {"f": fs}["f"].read("/x")
