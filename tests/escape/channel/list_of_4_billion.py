# title: announce a list of 4 billion values in five bytes
# reference: CWE-789, https://github.com/msgpack/msgpack-python#security
# real: killed: not a well-formed frame
# weakened: item limit
# proof: said: the gate fell over: MemoryError

from sandbox.channel import framed


def attack(worker):
    worker.write(framed(b"\xdd\xff\xff\xff\xff"))
