-- calls: fs.space
return (function() return (function() return (function() return fs.space("/") end)() end)() end)()
