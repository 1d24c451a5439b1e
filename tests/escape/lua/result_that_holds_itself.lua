-- title: return a table that holds itself, for whoever copies it
-- reference: CWE-674, https://www.lua.org/manual/5.4/manual.html#2.1
-- real: error: nested more than
-- weakened: bounded values
-- proof: lost: RecursionError

local t = {}
t.t = t
return t
