-- dynamic: fs proc
local function f() return proc, fs end local a, b = f() return b.read("/x")
