# calls: fs.list but not fs.read
result = sorted(["/x"], key=fs.read) if False else [fs.list("/x")]
