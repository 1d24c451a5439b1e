# calls: fs.read but not fs.list
result = getattr(fs, "read", fs.list)("/x")
