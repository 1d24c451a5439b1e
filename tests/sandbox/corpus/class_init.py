# dynamic: fs
class A:
    def __init__(self, f):
        self.f = f
    def go(self):
        return self.f.read("/x")
result = A(fs).go()
