-- title: load a file that is no Lua; the syntax error quotes it
-- reference: http://lua-users.org/wiki/SandBoxes (loadfile and dofile read any file)
-- real: error: attempt to call a nil value (global 'loadfile')
-- weakened: boot chunk, walls
-- proof: canary

return select(2, loadfile(param("secret")))
