-- title: change bytes of bytecode until the interpreter reads past its own memory
-- reference: https://www.lua.org/manual/5.4/manual.html#pdf-load (maliciously crafted binary chunks can crash)
-- real: error: bytecode is refused
-- weakened: own load, library list
-- proof: crash: SIG

local code = string.dump and string.dump(function() return ("x"):rep(3), _G, {} end, true) or "\27Lua"
for at = math.min(40, #code), #code do
  for _, byte in ipairs({ 0x00, 0x7f, 0xff, 0x81 }) do
    local bad = code:sub(1, at - 1) .. string.char(byte) .. code:sub(at + 1)
    local f, problem = load(bad)
    if problem == "load: bytecode is refused" then error(problem, 0) end
    if f then pcall(coroutine.wrap(function() pcall(f) end)) end
  end
end
