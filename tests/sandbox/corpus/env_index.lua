-- dynamic: *
return _ENV[param("f")].read("/x")
