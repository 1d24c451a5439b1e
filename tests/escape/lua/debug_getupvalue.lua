-- title: take the host's own function out of the upvalues of a call
-- reference: https://www.lua.org/manual/5.4/manual.html#pdf-debug.getupvalue
-- real: error: attempt to index a nil value (global 'debug')
-- weakened: library list
-- proof: value: "userdata"

for index = 1, 20 do
  local _, value = debug.getupvalue(fs.read, index)
  if type(value) == "userdata" then return type(value) end
end
