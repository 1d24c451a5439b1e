# calls: fs.read
result = 1 < len(str(fs.read("/x"))) < 100
