-- calls: fs.read but not fs.list
local f = (param("p") == "read") and fs.read or fs.list return f("/x")
