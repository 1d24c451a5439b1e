-- dynamic: fs
local function g(_ENV) return read("/x") end return g(fs)
