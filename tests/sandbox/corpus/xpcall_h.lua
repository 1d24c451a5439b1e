-- calls: fs.read
xpcall(error, function() return fs.read("/x") end, "x") return 1
