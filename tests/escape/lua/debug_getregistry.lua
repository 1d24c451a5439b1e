-- title: read the registry, in which the host keeps its references
-- reference: http://lua-users.org/wiki/SandBoxes (debug.getregistry is unsafe)
-- real: error: attempt to index a nil value (global 'debug')
-- weakened: boot chunk
-- proof: value: "table"

return type(debug.getregistry()._LOADED)
