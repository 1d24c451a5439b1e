-- calls: fs.read but not fs.list
xpcall(fs.read, fs.list, "/x")
