-- dynamic: fs
local t = setmetatable({}, {__concat = function(_, f) return f.read("/x") end})
return t .. fs
