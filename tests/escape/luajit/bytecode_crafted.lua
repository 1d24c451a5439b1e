-- title: read and write memory at will by bytecode that the interpreter does not verify
-- reference: https://www.corsix.org/content/malicious-luajit-bytecode
-- real: error: load: bytecode is refused
-- weakened: own load, library list
-- proof: crash: SIG

local code = string.dump and string.dump(function() return ("x"):rep(3), print, {} end, true) or "\27LJ\2"
for at = math.min(20, #code), #code do
  for _, byte in ipairs({ 0x00, 0x7f, 0xff, 0x81 }) do
    local f, problem = load(code:sub(1, at - 1) .. string.char(byte) .. code:sub(at + 1))
    if problem == "load: bytecode is refused" then error(problem, 0) end
    if f then pcall(coroutine.wrap(function() pcall(f) end)) end
  end
end
