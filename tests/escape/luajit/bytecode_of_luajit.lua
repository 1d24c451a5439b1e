-- title: load bytecode of LuaJIT, which has a format of its own
-- reference: https://luajit.org/extensions.html#string_dump, CVE-2015-4335
-- real: error: load: bytecode is refused
-- weakened: own load, library list
-- proof: value: 42

local code = string.dump and string.dump(function() return 42 end) or "\27LJ\2"
return assert(load(code))()
