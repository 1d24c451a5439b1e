-- calls: fs.read
return fs["\114\x65\u{61}\z
   d"]("/x")
