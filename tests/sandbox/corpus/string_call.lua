-- calls: fs.read
return fs.read"/x", fs.read[[/y]]
