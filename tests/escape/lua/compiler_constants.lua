-- title: make the compiler itself use the memory, with a table of many fields
-- reference: CWE-770, https://www.lua.org/manual/5.4/manual.html#pdf-load
-- real: budget: memory
-- weakened: memory limit, walls
-- proof: over: memory
-- limits: cpu=3

return type(load("return {" .. ("'a',"):rep(2 ^ 23) .. "}"))
