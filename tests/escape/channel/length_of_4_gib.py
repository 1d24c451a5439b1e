# title: announce a frame of 4 GiB, for a gate that makes room first
# reference: CWE-789, https://github.com/msgpack/msgpack/blob/master/spec.md
# real: killed: a frame of 4294967295 bytes is over the limit
# weakened: frame limit
# proof: said: the gate fell over: MemoryError


def attack(worker):
    worker.write(b"\xff\xff\xff\xff")
