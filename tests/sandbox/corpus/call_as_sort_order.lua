-- calls: fs.space
pcall(table.sort, {2, 1}, function(a, b) fs.space("/") return a < b end)
