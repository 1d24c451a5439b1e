-- calls: fs.read
local ok = pcall(function() return fs:read("/x") end)
