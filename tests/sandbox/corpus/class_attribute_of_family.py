# dynamic: fs
class A:
    f = fs
result = A.f.read("/x")
