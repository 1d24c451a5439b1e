-- title: loop in a coroutine, which a count hook of the main thread does not watch
-- reference: https://lua-users.org/lists/lua-l/2008-01/msg00097.html (hooks as a watchdog: no coroutines)
-- real: budget: cpu
-- weakened: deadline outside
-- proof: over: time
-- limits: cpu=0.2

coroutine.wrap(function() while true do end end)()
