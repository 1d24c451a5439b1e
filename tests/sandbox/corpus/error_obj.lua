-- dynamic: fs
local ok, e = pcall(error, fs) return e.read("/x")
