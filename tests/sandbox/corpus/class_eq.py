# calls: fs.read
class A:
    def __eq__(self, o):
        return fs.read("/x")
result = bool(A() == 1)
