-- title: insert into a table that lies about its length
-- reference: https://www.lua.org/manual/5.4/manual.html#pdf-table.insert
-- real: budget: cpu
-- weakened: deadline outside
-- proof: over: time
-- limits: cpu=0.2

local liar = setmetatable({}, { __len = function() return math.maxinteger - 1 end })
table.insert(liar, 1, "x")
