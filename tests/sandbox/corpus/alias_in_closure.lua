-- calls: fs.list
local f = fs
local function outer()
  return function() return f.list("/") end
end
return outer()()
