-- title: dump a function to bytecode, and load it again
-- reference: https://www.lua.org/manual/5.4/manual.html#pdf-string.dump
-- real: error: attempt to call a nil value (field 'dump')
-- weakened: boot chunk
-- proof: value: 42

return load(string.dump(function() return 42 end), "x", "b")()
