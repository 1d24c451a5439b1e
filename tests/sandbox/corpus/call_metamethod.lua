-- calls: fs.read
local t = setmetatable({}, {__call = fs.read}) return t("/x")
