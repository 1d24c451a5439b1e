# title: name another run in a frame
# reference: CWE-290, https://cwe.mitre.org/data/definitions/639.html
# real: killed: a frame of kind 1 is unknown or malformed
# weakened: identity by socket
# proof: said: acted for run r2


def attack(worker):
    worker.frame([1, "t.nothing", [], {}, "r2"])
    worker.channel._receive(1 << 20)
