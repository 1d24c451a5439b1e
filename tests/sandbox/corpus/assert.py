# calls: fs.read
assert fs.read("/x") or True
result = 1
