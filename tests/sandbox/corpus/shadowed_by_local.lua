-- calls:
local fs = {read = function() return 1 end}
return fs.read("/x")
