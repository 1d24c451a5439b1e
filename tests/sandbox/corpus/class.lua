-- calls: fs.read
local C = {} C.__index = C function C.new() return setmetatable({f = fs.read}, C) end function C:go() return self.f("/x") end return C.new():go()
