-- dynamic: *
return _G[param("f")].read("/x")
