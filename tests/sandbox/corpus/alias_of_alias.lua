-- calls: proc.command
local a = proc
local b = a
do local c = b; c.command("df") end
