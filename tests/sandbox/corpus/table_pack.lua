-- calls: fs.read
return table.pack(fs.read)[1]("/x")
