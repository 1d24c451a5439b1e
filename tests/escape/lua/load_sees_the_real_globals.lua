-- title: load text without an environment, which then sees the globals of the host
-- reference: http://lua-users.org/wiki/SandBoxes (load: the chunk gets the global environment)
-- real: harmless: "nil"
-- weakened: own load, emptied globals
-- proof: value: "function"

return load("return type(io and io.open)")()
