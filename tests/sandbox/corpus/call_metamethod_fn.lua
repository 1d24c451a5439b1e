-- calls: fs.read
local t = setmetatable({}, {__call = function(_, p) return fs.read(p) end}) return t("/x")
