-- calls: fs.read
return fs.read"/x"
