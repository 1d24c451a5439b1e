-- calls: fs.read
local t = setmetatable({}, {__index = function(_, k) return fs.read("/" .. k) end})
return t.x
