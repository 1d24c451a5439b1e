-- dynamic: fs
return assert(fs).read("/x")
