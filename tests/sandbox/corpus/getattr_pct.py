# dynamic: fs
result = getattr(fs, "%s" % "read")("/x")
