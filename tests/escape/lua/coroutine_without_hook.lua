-- title: loop in a coroutine, which a count hook of the main thread does not watch
-- reference: https://www.lua.org/manual/5.4/manual.html#pdf-debug.sethook (hooks are of one thread)
-- real: budget: cpu
-- weakened: deadline outside
-- proof: over: time
-- limits: cpu=0.2

coroutine.wrap(function() while true do end end)()
