-- calls: fs.read
local M = {} function M.go(p) return fs.read(p) end function M:run(p) return self.go(p) end return M:run("/x")
