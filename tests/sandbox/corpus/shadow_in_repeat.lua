-- calls: proc.command
repeat
  local fs = proc
until fs.command("df") or true
