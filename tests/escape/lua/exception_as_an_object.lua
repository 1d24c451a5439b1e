-- title: walk from a caught exception of the host through its traceback to the globals of a module
-- reference: https://github.com/scoder/lupa (Python exceptions are passed through Lua)
-- real: error: attempt to index a nil value (global 'host')
-- weakened: boot chunk, attribute filter, no host object
-- proof: canary

local _, problem = pcall(host.fail)
local trace = problem.__traceback__
while trace.tb_next do trace = trace.tb_next end
return trace.tb_frame.f_locals["self"].token
