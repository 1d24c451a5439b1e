-- title: learn where the heap lies from the text of a table
-- reference: https://www.lua.org/manual/5.4/manual.html#pdf-tostring, CWE-200
-- real: harmless: "table"
-- weakened: own tostring
-- proof: matches: table: 0x[0-9a-f]+

return tostring({})
