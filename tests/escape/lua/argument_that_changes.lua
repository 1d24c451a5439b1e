-- title: give a call a table that answers differently when it is read again
-- reference: CWE-367, https://www.lua.org/manual/5.4/manual.html#2.4
-- real: error: path
-- weakened: arguments are read raw
-- proof: value: "opened /etc/shadow"

local asked = 0
return fs.read(setmetatable({}, {
  __index = function()
    asked = asked + 1
    return asked == 1 and "/allowed" or "/etc/shadow"
  end,
}))
