# calls: fs.read
def main():
    return fs.read("/x")
