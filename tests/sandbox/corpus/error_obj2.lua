-- calls: fs.read
local ok, e = pcall(error, {f = fs.read}) return e.f("/x")
