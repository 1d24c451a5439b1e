-- calls: fs.read
return pcall(fs.read, {path="/x"})
