# calls: fs.read
verb = "read"
result = getattr(fs, f"{verb}")("/x")
