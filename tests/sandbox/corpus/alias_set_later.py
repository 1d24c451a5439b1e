# calls: fs.read
f = None
def main():
    global f
    f = fs
    return use()
def use():
    return f.read("/x")
