-- calls: fs.read
local f = not not fs and fs return f.read("/x")
