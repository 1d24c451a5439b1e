-- calls: fs.read
return fs.read and fs:read("/x")
