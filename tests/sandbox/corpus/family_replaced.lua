-- calls: proc.command
fs = proc
return fs.command("df")
