-- calls: fs.read
local ok = pcall(table.sort, {"/b", "/a"}, fs.read) return ok
