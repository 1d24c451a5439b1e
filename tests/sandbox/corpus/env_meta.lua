-- dynamic: *
local _ENV = setmetatable({}, {__index = _ENV}) return fs.read("/x")
