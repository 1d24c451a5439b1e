-- calls: fs.list
for _, fs in ipairs({fs}) do fs.list("/") end
