# dynamic: proc
def get():
    return proc
result = get().command("df")
