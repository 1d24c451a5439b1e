# title: announce a frame of less than no bytes
# reference: CWE-195, https://cwe.mitre.org/data/definitions/839.html
# real: killed: a frame of 4294967294 bytes is over the limit
# weakened: unsigned length
# proof: said: the gate fell over: ValueError


def attack(worker):
    worker.write(b"\xff\xff\xff\xfe" + bytes(100))
