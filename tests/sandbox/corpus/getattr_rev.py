# dynamic: fs
result = getattr(fs, "daer"[::-1])("/x")
