# title: nest lists deeper than whoever walks them can go
# reference: CWE-674, https://github.com/msgpack/msgpack-python#security
# real: killed: nested deeper than 16 levels
# weakened: depth limit
# proof: said: the gate fell over: RecursionError

from sandbox.channel import framed


def attack(worker):
    deep = b"\x91" * 1000 + b"\xc0"
    worker.write(framed(b"\x94\x01\xa9t.nothing" + b"\x91" + deep + b"\x80"))
