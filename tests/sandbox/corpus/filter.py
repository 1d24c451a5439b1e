# calls: fs.read
result = list(filter(fs.read, ["/x"]))
