-- dynamic: proc
local function get() return proc end
return get().command("df")
