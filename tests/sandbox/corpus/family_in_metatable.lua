-- dynamic: fs
local t = setmetatable({}, {__index = fs})
return t.read("/x")
