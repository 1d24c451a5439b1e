-- calls: fs.read proc.command
local g = _G
pcall(g.proc.command, "df")
return g["fs"]["read"]("/x")
