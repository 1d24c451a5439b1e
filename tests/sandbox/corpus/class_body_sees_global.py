# dynamic: fs
def main():
    fs = 1
    class A:
        x = fs
        fs = 2
    return fs
