-- title: let each match of gsub be replaced by something large
-- reference: CWE-409, https://www.lua.org/manual/5.4/manual.html#pdf-string.gsub
-- real: budget: memory
-- weakened: memory limit, walls
-- proof: over: memory

return #(("x"):rep(150):gsub(".", ("y"):rep(2 ^ 20)))
