-- calls: fs.read
local f
local function use() return f.read("/x") end
f = fs
return use()
