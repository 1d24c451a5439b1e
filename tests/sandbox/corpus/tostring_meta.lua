-- calls: fs.read
local t = setmetatable({}, {__tostring = function() fs.read("/x") return "s" end}) return tostring(t)
