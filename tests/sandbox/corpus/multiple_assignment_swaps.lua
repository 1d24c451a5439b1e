-- calls: fs.list proc.list
local a, b = fs, proc
a, b = b, a
a.list("/")
return b.list("/")
