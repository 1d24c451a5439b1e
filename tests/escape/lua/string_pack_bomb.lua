-- title: ask string.pack for a field of many megabytes
-- reference: CWE-789, https://www.lua.org/manual/5.4/manual.html#6.4.2
-- real: budget: memory
-- weakened: memory limit, walls
-- proof: over: memory

return #string.pack("c150000000", "")
