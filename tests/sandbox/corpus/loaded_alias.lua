-- dynamic: *
local compile = load
return compile("return fs.read('/x')")()
