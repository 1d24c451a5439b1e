-- calls: fs.read
local f local function set(x) f = x end set(fs.read) return f("/x")
