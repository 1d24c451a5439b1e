-- title: load the C library itself through package.loadlib
-- reference: CVE-2022-0543 (Debian's Redis left package in the globals of its Lua)
-- real: error: attempt to index a nil value (global 'package')
-- weakened: boot chunk, walls
-- proof: value: true

return package.loadlib("libc.so.6", "*")
