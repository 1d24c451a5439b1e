-- calls: fs.list fs.read
local a <const>, b <const> = fs.read, fs
a("/x")
return b.list("/x")
