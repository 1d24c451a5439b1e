# dynamic: fs
result = getattr(fs, "".join(["re", "ad"]))("/x")
