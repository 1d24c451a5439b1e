-- dynamic: *
return _G[string.char(102, 115)].read("/x")
