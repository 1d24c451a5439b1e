-- title: loop in the __close of a variable that the ending error leaves
-- reference: https://www.lua.org/manual/5.4/manual.html#3.3.8
-- real: budget: cpu
-- weakened: deadline outside
-- proof: over: time
-- limits: cpu=0.2

local meta = { __close = function() coroutine.wrap(function() while true do end end)() end }
local held <close> = setmetatable({}, meta)
while true do end
