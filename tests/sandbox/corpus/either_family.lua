-- calls: fs.list but not proc.list
local f = (1 > 2) and proc or fs
return f.list("/x")
