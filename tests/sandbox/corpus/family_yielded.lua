-- dynamic: fs
local co = coroutine.wrap(function() coroutine.yield(fs) end)
return co().read("/x")
