-- calls:
local function f(fs) return fs.read("/x") end
return f({read = tostring})
