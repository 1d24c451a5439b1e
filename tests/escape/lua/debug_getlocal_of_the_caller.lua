-- title: read the local variables of the code that runs the script
-- reference: https://www.lua.org/manual/5.4/manual.html#pdf-debug.getlocal
-- real: error: attempt to index a nil value (global 'debug')
-- weakened: library list
-- proof: value: "I have read what the caller holds"

for level = 2, 6 do
  for index = 1, 20 do
    local _, _, value = pcall(debug.getlocal, level, index)
    if type(value) == "string" then
      local words = value:match("I have read what the caller holds") -- the source of this script
      if words then return words end
    end
  end
end
