# dynamic: fs
gs = [lambda f=f: f.read("/x") for f in [fs]]
result = gs[0]()
