-- dynamic: fs
fs = proc
return fs.command("df")
