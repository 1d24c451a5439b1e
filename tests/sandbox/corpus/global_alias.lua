-- calls: fs.read
files = fs
function go() return files.read("/x") end
return go()
