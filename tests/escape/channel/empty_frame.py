# title: send a frame of no bytes
# reference: CWE-20, https://github.com/msgpack/msgpack/blob/master/spec.md
# real: killed: not a well-formed frame
# weakened: well-formed frames
# proof: said: the gate fell over


def attack(worker):
    worker.write(bytes(4))
