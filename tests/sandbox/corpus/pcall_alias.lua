-- calls: fs.read
local try = pcall
return try(fs.read, "/x")
