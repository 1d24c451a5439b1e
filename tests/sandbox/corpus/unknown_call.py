# unknown: fs.shred
try:
    fs.shred("/x")
except HostError:
    pass
