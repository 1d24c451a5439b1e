-- title: hide the guarded globals behind a local _ENV that the host also reads
-- reference: CVE-2022-28805 (Lua read past a buffer for _ENV declared as a constant)
-- real: error: attempt to call a nil value (global 'print')
-- weakened: own load, emptied globals
-- proof: value: "function"

local real = load("return _ENV")()
local _ENV = { kind = type, real = real }
if real.io == nil then print("nothing here") end
return kind(real.io.open)
