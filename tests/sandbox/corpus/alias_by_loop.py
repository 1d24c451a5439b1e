# calls: fs.list proc.list
for family in (fs, proc):
    family.list("/")
