# title: say true where the kind of a frame is a number
# reference: CWE-697, https://docs.python.org/3/library/functions.html#bool
# real: killed: a frame is no message
# weakened: exact kinds
# proof: said: took true for the kind of a call


def attack(worker):
    worker.frame([True, "t.nothing", [], {}])
    worker.channel._receive(1 << 20)
