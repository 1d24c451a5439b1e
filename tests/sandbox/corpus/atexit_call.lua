-- calls: fs.read
atexit(fs.read)
