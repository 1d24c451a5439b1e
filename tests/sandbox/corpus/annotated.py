# calls: fs.read
text: str = fs.read("/x")
def f(p: fs.list) -> fs.space:
    return p
result = f(1)
