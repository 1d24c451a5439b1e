-- calls: fs.read
local read = fs.read
return read("/x")
