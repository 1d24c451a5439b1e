-- calls: fs.read
return coroutine.wrap(fs.read)("/x")
