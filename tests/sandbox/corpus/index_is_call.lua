-- calls: fs.read
local t = setmetatable({}, {__index = fs.read}) return t["/x"]
