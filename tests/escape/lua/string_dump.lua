-- title: dump a function to bytecode, and load it again
-- reference: https://book.hacktricks.wiki/en/generic-methodologies-and-resources/lua/bypass-lua-sandboxes/index.html
-- real: error: attempt to call a nil value (field 'dump')
-- weakened: boot chunk
-- proof: value: 42

return load(string.dump(function() return 42 end), "x", "b")()
