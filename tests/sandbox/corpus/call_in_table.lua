-- calls: fs.list fs.read
local t = {fs.read, k = fs.list}
pcall(t[1], "/x")
return pcall(t.k, "/x")
