-- title: read and write memory at will by bytecode that the interpreter does not verify
-- reference: https://www.corsix.org/content/malicious-luajit-bytecode
-- real: error: load: bytecode is refused
-- weakened: own load, library list
-- proof: crash: SIG

local code = string.dump and string.dump(function() return ("x"):rep(3), print, {} end, true) or "\27LJ\2"
for at = 14, math.max(14, math.min(40, #code)) do -- where the instructions are
  for _, operation in ipairs({ 51, 53 }) do -- FNEW, TDUP
    local wild = string.char(operation, 0, 255, 255) -- its operand is a constant that is not there
    local f, problem = load(code:sub(1, at - 1) .. wild .. code:sub(at + 4))
    if problem == "load: bytecode is refused" then error(problem, 0) end
    if f then pcall(f) end
  end
end
