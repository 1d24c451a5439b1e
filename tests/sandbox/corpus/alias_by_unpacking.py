# calls: fs.read proc.command
a, (b, c) = 1, (fs, proc)
b.read("/x")
result = c.command("df")
