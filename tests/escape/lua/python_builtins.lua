-- title: use the builtins of Python from Lua
-- reference: https://github.com/scoder/lupa (register_builtins)
-- real: error: attempt to index a nil value (global 'python')
-- weakened: boot chunk, narrow options, walls
-- proof: canary

return python.builtins.open(param("secret")).read()
