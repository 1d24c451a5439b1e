-- calls: fs.read
return pcall(pcall, fs.read, "/x")
