# calls: fs.read
take = getattr
result = take(fs, "read")("/x")
