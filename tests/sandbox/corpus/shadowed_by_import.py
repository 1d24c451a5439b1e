# calls:
def main():
    import math as fs
    return fs.sqrt(4)
