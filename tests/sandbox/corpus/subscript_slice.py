# dynamic: fs proc
result = [proc, fs][1:][0].read("/x")
