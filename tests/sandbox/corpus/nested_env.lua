-- dynamic: fs
local _ENV = {fs = fs} return fs.read("/x")
