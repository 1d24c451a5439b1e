-- dynamic: fs
local f local function set(x) f = x end set(fs) return f.read("/x")
