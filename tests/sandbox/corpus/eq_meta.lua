-- calls: fs.read
local m = {__eq = function() fs.read("/x") return true end} return setmetatable({}, m) == setmetatable({}, m)
