-- title: join one string with itself, which costs nothing until it is joined
-- reference: CWE-409, https://www.lua.org/manual/5.4/manual.html#pdf-table.concat
-- real: budget: memory
-- weakened: memory limit, walls
-- proof: over: memory

local one, all = ("x"):rep(2 ^ 20), {}
for index = 1, 150 do all[index] = one end
return #table.concat(all)
