-- title: move a file of the host
-- reference: https://www.lua.org/manual/5.4/manual.html#pdf-os.rename
-- real: error: attempt to call a nil value (field 'rename')
-- weakened: boot chunk, walls
-- proof: touched

return os.rename(param("secret"), param("touched"))
