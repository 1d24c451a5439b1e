-- title: start a program and read what it prints
-- reference: https://www.lua.org/manual/5.4/manual.html#pdf-io.popen
-- real: error: attempt to index a nil value (global 'io')
-- weakened: Lua 5.4 and not LuaJIT, walls
-- proof: canary

return io.popen("cat " .. param("secret")):read("a")
