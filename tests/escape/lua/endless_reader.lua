-- title: feed the compiler one long string from a reader that never ends
-- reference: CWE-770, https://www.lua.org/manual/5.4/manual.html#pdf-load
-- real: budget: memory
-- weakened: own load, memory limit, walls
-- proof: over: memory
-- limits: cpu=3

local piece, count = ("x"):rep(2 ^ 20), 0
return load(function()
  count = count + 1
  return count == 1 and "return [[" or count < 130 and piece or nil
end)
