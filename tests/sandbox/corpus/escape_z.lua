-- calls: fs.read
return fs["re\z 
 ad"]("/x")
