-- title: loop in a finaliser, which runs when the state is closed and no limit watches any more
-- reference: CVE-2021-44964 (code in Lua finalisers), https://www.lua.org/manual/5.4/manual.html#2.5.3
-- real: error: finalisers (__gc) are not available
-- weakened: own setmetatable, leaving by _exit
-- proof: over: time
-- limits: cpu=0.2

keep = setmetatable({}, { __gc = function() while true do end end })
return 1
