# calls: fs.read
result = list(map(fs.read, ["/x"]))
