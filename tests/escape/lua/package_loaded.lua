-- title: find the removed libraries in package.loaded
-- reference: http://lua-users.org/wiki/SandBoxes (package.loaded holds all that was taken away)
-- real: error: attempt to index a nil value (global 'package')
-- weakened: boot chunk
-- proof: value: "function"

os, io = nil, nil
return type(package.loaded.io.open)
