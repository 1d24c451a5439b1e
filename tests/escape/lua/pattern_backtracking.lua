-- title: let the pattern matcher backtrack for ever, inside C where no hook runs
-- reference: CWE-1333, https://www.lua.org/manual/5.4/manual.html#6.4.1
-- real: budget: cpu
-- weakened: deadline outside
-- proof: over: time
-- limits: cpu=0.2

return ("a"):rep(10000):find((".-"):rep(40) .. "b")
