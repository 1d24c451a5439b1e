-- title: replace a method of all strings, those of the host included
-- reference: CVE-2025-46818 (Redis: a script could change the metatable of strings for later ones)
-- real: error: attempt to index a nil value
-- weakened: locked strings
-- proof: value: ["done", "mine"]

getmetatable("").__index = { upper = function() return "mine" end }
return "done"
