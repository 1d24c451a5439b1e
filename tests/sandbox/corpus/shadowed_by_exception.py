# calls:
def main():
    try:
        raise ValueError("x")
    except ValueError as fs:
        return str(fs)
