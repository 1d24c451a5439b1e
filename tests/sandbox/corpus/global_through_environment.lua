-- calls: fs.read
_G.files = fs
return _ENV.files.read("/x")
