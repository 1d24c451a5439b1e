# dynamic: fs
result = getattr(fs, param("p"))("/x")
