-- dynamic: *
return load("return fs.read('/x')")()
