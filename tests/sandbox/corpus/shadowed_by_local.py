# calls:
def main():
    fs = "x"
    return fs.upper()
