-- title: give all functions a metatable of one's own
-- reference: CVE-2025-46818 (Redis: metatables of basic types could be changed by scripts)
-- real: error: attempt to index a nil value (global 'debug')
-- weakened: boot chunk
-- proof: value: "mine"

debug.setmetatable(print, { __index = function() return "mine" end })
return tostring.anything
