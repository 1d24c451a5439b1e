-- dynamic: fs
local A = {f = fs} A.__index = A local b = setmetatable({}, A) return b.f.read("/x")
