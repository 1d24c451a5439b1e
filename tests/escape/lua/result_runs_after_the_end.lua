-- title: return a table whose __pairs runs while the host reads it
-- reference: https://www.lua.org/manual/5.4/manual.html#pdf-pairs
-- real: harmless: []
-- weakened: results are read raw
-- proof: over: time
-- limits: cpu=0.2

return setmetatable({}, { __pairs = function() while true do end end })
