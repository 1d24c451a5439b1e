-- calls: fs.read
return ("abc"):gsub("b", fs.read)
