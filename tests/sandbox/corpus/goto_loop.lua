-- calls: fs.list
local n = 0
::again::
fs.list("/")
n = n + 1
if n < 3 then goto again end
