-- dynamic: fs
return fs[("daer"):reverse()]("/x")
