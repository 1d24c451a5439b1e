-- dynamic: fs
local t = {f = fs}
return t.f.read("/x")
