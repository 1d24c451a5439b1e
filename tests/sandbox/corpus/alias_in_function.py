# calls: fs.list
def main():
    files = fs
    def inner():
        return files.list("/")
    return inner()
