# dynamic: fs
result = list(map(getattr, [fs], ["read"]))[0]("/x")
