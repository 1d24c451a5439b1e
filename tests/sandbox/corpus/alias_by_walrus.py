# calls: fs.read
def main():
    [(f := fs) and 1 for _ in [1]]
    return f.read("/x")
