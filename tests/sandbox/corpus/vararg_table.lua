-- dynamic: fs
local function g(...) local t = {...} return t[1].read("/x") end return g(fs)
