-- calls: fs.read
local t = {} table.insert(t, fs.read) return t[1]("/x")
