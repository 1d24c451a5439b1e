-- calls: fs.list
local files = fs
return files.list("/x")
