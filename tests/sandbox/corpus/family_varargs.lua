-- dynamic: fs
local function f(...) return (...).read("/x") end
return f(fs)
