-- calls: fs.read but not fs.list
local name = "read"
if #name > 9 then name = "list" end
return fs[name]("/x")
