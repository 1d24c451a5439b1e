# dynamic: fs
class A:
    f = fs
class B(A):
    pass
result = B.f.read("/x")
