-- calls: fs.read
local function apply(f, ...) return f(...) end
return apply(fs.read, "/x")
