# dynamic: fs
try:
    raise ValueError(fs)
except ValueError as e:
    result = e.args[0].read("/x")
