-- title: run a command through the shell
-- reference: https://www.lua.org/manual/5.4/manual.html#pdf-os.execute
-- real: error: attempt to call a nil value (field 'execute')
-- weakened: boot chunk, walls
-- proof: touched

return os.execute("touch " .. param("touched"))
