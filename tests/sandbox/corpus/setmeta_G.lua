-- dynamic: *
setmetatable(_G, {__index = function(t, k) return fs.read end}) return zz("/x")
