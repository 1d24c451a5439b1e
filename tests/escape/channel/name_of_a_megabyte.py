# title: call something whose name fills the record
# reference: CWE-779, https://cwe.mitre.org/data/definitions/400.html
# real: killed: a frame of kind 1 is unknown or malformed
# weakened: bounded names
# proof: said: kept a name of 900000 characters


def attack(worker):
    worker.frame([1, "x" * 900_000, [], {}])
    worker.channel._receive(1 << 20)
