# calls: fs.read
result = f"{1:{len(str(fs.read('/x')))}}"
