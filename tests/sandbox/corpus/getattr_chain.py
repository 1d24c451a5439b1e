# calls: fs.read
g = getattr
result = g(fs, "re" + "ad")("/x")
