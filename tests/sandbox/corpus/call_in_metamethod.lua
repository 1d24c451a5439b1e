-- calls: fs.read
local t = setmetatable({}, {__add = function() return fs.read("/x") end})
return t + 1
