# calls: fs.read
result = [1,2,3][:len(str(fs.read("/x")))]
