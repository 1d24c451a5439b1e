-- title: unpack from the smallest to the largest integer, whose difference overflows
-- reference: CVE-2025-46817 (Redis: an integer overflow in unpack)
-- real: error: too many results to unpack
-- weakened: Lua 5.4 and not 5.1
-- proof: crash: SIGSEGV

local unpack = table.unpack or unpack
return unpack({}, -2147483648, 2147483647)
