-- calls: fs.read
string.read = fs.read return ("/x"):read()
