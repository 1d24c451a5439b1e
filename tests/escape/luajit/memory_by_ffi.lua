-- title: read any address through the FFI
-- reference: https://luajit.org/ext_ffi_semantics.html
-- real: error: there is no module
-- weakened: boot chunk
-- proof: crash: SIGSEGV

local ffi = require("ffi")
return ffi.cast("int *", 8)[0]
