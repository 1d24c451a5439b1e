-- title: read a file
-- reference: https://www.lua.org/manual/5.4/manual.html#pdf-io.open
-- real: error: attempt to index a nil value (global 'io')
-- weakened: boot chunk, walls
-- proof: canary

return io.open(param("secret")):read("a")
