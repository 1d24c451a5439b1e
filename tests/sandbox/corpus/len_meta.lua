-- calls: fs.read
return #setmetatable({}, {__len = fs.read})
