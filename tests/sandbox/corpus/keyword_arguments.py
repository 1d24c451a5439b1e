# calls: fs.list
result = fs.list(**{"path": "/"})
