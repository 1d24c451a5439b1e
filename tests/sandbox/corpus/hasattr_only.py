# calls:
result = hasattr(fs, "read")
