# dynamic: fs
class A:
    pass
a = A()
a.f = fs
result = a.f.read("/x")
