-- title: make a userdata with newproxy, whose finaliser a table could not have
-- reference: http://lua-users.org/wiki/SandBoxes (newproxy gives access to metatables with __gc)
-- real: error: attempt to call a nil value (global 'newproxy')
-- weakened: Lua 5.4 and not 5.1
-- proof: value: "ran"

local ran
do
  local proxy = newproxy(true)
  getmetatable(proxy).__gc = function() ran = "ran" end
end
collectgarbage()
collectgarbage()
return ran
