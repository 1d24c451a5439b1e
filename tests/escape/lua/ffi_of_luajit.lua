-- title: call the C library through the FFI
-- reference: https://luajit.org/ext_ffi.html (no protection at all)
-- real: error: there is no module
-- weakened: Lua 5.4 and not LuaJIT, walls
-- proof: touched

local ffi = require("ffi")
ffi.cdef("int creat(const char *path, unsigned mode);")
return ffi.C.creat(param("touched"), 384)
