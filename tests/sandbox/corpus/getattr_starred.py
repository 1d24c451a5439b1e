# dynamic: fs
result = getattr(*[fs, "read"])("/x")
