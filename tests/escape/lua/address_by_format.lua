-- title: learn where the heap lies from the format %p
-- reference: https://www.lua.org/manual/5.4/manual.html#pdf-string.format, CWE-200
-- real: error: %p is not available
-- weakened: own format
-- proof: matches: 0x[0-9a-f]+

return ("%p"):format({})
