-- title: foretell the random numbers of another run from one's own
-- reference: CWE-338, https://www.lua.org/manual/5.4/manual.html#pdf-math.random
-- real: differ
-- weakened: a fresh seed
-- proof: same

return { math.random(2147483647), math.random(2147483647) }
