# calls: fs.read
result = getattr(fs, "re" + "ad")("/x")
