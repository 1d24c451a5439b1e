-- unknown: fs.shred
pcall(function() fs.shred("/x") end)
