-- title: put a function where the bridge looks for debug.traceback, before its next call into Lua
-- reference: https://github.com/scoder/lupa (the bridge reads debug.traceback as its message handler)
-- real: harmless: 1
-- weakened: boot chunk, no host object
-- proof: over: time
-- limits: cpu=0.2

local ended = false
debug = setmetatable({}, { __index = function() while ended do end end })
ended = true
return 1
