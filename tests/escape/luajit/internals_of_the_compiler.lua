-- title: learn addresses from the internals of the compiler
-- reference: https://luajit.org/running.html, CWE-200
-- real: error: there is no module
-- weakened: boot chunk
-- proof: value: "number"

local util = require("jit.util")
return type(util.funcinfo(print).addr)
