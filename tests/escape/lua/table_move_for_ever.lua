-- title: move more elements than there are, inside C where no hook runs
-- reference: https://www.lua.org/manual/5.4/manual.html#pdf-table.move
-- real: budget: cpu
-- weakened: deadline outside
-- proof: over: time
-- limits: cpu=0.2

return table.move({}, 1, math.maxinteger - 1, 2)
