-- dynamic: fs
return fs[param("p")]("/x")
