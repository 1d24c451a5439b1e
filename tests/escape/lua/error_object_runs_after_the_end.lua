-- title: raise an object whose __tostring runs when the host reads the error
-- reference: https://www.lua.org/manual/5.4/manual.html#pdf-tostring
-- real: error: error object of type table
-- weakened: no script after the end
-- proof: over: time
-- limits: cpu=0.2

error(setmetatable({}, { __tostring = function() while true do end end }))
