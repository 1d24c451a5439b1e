# calls: fs.read
result = str(max(["/x", "/y"], key=lambda p: len(str(fs.read(p)))))
