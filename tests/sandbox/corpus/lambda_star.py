# dynamic: fs
result = (lambda *a: a[0].read("/x"))(fs)
