# calls: fs.read
result = fs.read(*["/x"])
