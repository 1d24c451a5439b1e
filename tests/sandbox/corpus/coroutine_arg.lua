-- dynamic: fs
local co = coroutine.create(function(f) return f.read("/x") end) return coroutine.resume(co, fs)
