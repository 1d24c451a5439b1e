-- calls: fs.read
local t = setmetatable({}, {__concat = fs.read}) return t .. "/x"
