# calls: proc.command
fs = proc
result = fs.command("df")
