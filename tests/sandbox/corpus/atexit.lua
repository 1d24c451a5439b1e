-- calls: fs.read
atexit(function() fs.read("/x") end)
