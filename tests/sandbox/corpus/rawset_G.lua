-- dynamic: fs
rawset(_G, "x", fs) return x.read("/x")
