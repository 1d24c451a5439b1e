-- title: learn an address from the seed that math.randomseed makes and returns
-- reference: https://www.lua.org/manual/5.4/manual.html#pdf-math.randomseed
-- real: harmless: 0
-- weakened: own randomseed
-- proof: value: 2

return select("#", math.randomseed())
