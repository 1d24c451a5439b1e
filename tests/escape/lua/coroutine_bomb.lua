-- title: make coroutines until their stacks fill the memory
-- reference: CWE-770, https://www.lua.org/manual/5.4/manual.html#2.6
-- real: budget: memory
-- weakened: memory limit, walls
-- proof: over: memory
-- limits: cpu=3

local all = {}
for index = 1, 200000 do all[index] = coroutine.create(print) end
return #all
