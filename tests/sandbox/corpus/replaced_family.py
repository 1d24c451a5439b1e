# dynamic: fs
fs = proc
result = fs.command("df")
