-- calls: fs.read
local name = "re" .. "ad"
return fs[name]("/x")
