-- title: stop the garbage collector, so that garbage fills the memory of the host
-- reference: https://www.lua.org/manual/5.4/manual.html#pdf-collectgarbage
-- real: error: only "count" and "collect" are available
-- weakened: own collectgarbage, memory limit, walls
-- proof: over: memory

collectgarbage("stop")
local one = ("x"):rep(2 ^ 20)
for index = 1, 150 do local _ = one .. index end
return collectgarbage("count")
