-- calls: fs.read
local ok, text = pcall(fs.read, "/x")
return ok
