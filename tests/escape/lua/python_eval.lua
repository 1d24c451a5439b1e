-- title: evaluate Python from Lua
-- reference: https://github.com/scoder/lupa (register_eval)
-- real: error: attempt to index a nil value (global 'python')
-- weakened: boot chunk, narrow options, walls
-- proof: canary

return python.eval("open('" .. param("secret") .. "').read()")
