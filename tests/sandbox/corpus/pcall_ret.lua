-- dynamic: fs
local _, f = pcall(function() return fs end) return f.read("/x")
