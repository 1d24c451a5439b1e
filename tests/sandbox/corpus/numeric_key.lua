-- calls: fs.list but not fs.read
local t = {fs.read, fs.list} return t[2]("/x")
