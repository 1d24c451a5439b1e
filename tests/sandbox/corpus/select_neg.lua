-- dynamic: fs proc
return select(-1, proc, fs).read("/x")
