-- calls: fs.list proc.list
local f = (1 > 2) and proc or fs
return f.list("/x")
