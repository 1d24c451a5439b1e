# calls: fs.read
m = {"r": fs.read}
result = m["r"]("/x")
