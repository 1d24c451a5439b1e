# calls: fs.list
class A:
    go = fs.list
result = A.go("/")
