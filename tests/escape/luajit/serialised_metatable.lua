-- title: decode a serialised object whose metatable comes from a dictionary of one's own
-- reference: https://luajit.org/ext_buffer.html
-- real: error: there is no module
-- weakened: boot chunk
-- proof: value: "mine"

local buffer = require("string.buffer")
local mine = { __index = function() return "mine" end }
local options = { metatable = { mine } }
local told = buffer.new(options):encode(setmetatable({}, mine)):get()
return buffer.new(options):set(told):decode().anything
