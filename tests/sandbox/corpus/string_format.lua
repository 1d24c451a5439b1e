-- dynamic: *
return _G[string.format("%s", "fs")].read("/x")
