-- dynamic: fs
local function f(x) return x.read("/x") end
return f(fs)
