-- dynamic: fs
return fs[table.concat({"re", "ad"})]("/x")
