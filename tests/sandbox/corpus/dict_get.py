# calls: fs.read
m = {"r": fs.read}
result = m.get("r")("/x")
