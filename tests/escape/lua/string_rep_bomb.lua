-- title: repeat a string until the memory is gone
-- reference: CWE-789, https://www.lua.org/manual/5.4/manual.html#pdf-string.rep
-- real: budget: memory
-- weakened: memory limit, walls
-- proof: over: memory

local s = ("x"):rep(150 * 2 ^ 20)
return #s
