-- calls: fs.read
return (table.unpack({fs.read}))("/x")
