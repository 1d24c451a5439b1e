-- title: loop in the message handler that the ending error calls
-- reference: https://www.lua.org/manual/5.4/manual.html#pdf-xpcall
-- real: budget: cpu
-- weakened: deadline outside
-- proof: over: time
-- limits: cpu=0.2

xpcall(function() while true do end end, function() coroutine.wrap(function() while true do end end)() end)
