-- calls: fs.read
local function it() return fs.read, "/x", nil end for x in it() do break end
