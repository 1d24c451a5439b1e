# calls: fs.list
result = list(map(fs.list, ["/", "/x"]))
