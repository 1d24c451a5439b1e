-- dynamic: fs
pcall(setmetatable, _G, {__index = fs}) return pcall(function() return read("/x") end)
