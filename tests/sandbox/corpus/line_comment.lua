-- calls: fs.read
return fs--[[x]].--y
read("/x")
