-- title: load bytecode that was compiled elsewhere and travels in a string
-- reference: CVE-2015-4335 (Redis loaded Lua bytecode, which the interpreter does not verify)
-- real: error: bytecode is refused
-- weakened: own load
-- proof: value: "ran"

-- string.dump(load("return 'ran'"), true) of Lua 5.4
local hex = "1b4c7561540019930d0a1a0a0408087856000000000000000000000028774001808080000102845100"
  .. "000003000000460002014600010181048472616e810100008080808080"
local code = hex:gsub("%x%x", function(byte) return string.char(tonumber(byte, 16)) end)
return assert(load(code, "x"))()
