-- calls: fs.read
local function g(...) return select(1, ...)("/x") end return g(fs.read)
