-- calls: fs.read
local t = table.move({fs.read}, 1, 1, 1, {}) return t[1]("/x")
