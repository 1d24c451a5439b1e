# calls: but not fs.read
try:
    @fs.read
    def f():
        pass
except HostError:
    pass
