-- calls: fs.list
return (string.gsub("/a", "/a", function(p) fs.list(p) end))
