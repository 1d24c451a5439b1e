# calls: fs.read
(a, (b, c)) = (1, (2, fs))
result = c.read("/x")
