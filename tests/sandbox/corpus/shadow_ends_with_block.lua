-- calls: fs.read
do local fs = {} end
return fs.read("/x")
