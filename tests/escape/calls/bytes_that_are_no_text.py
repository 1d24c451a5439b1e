# title: put a byte into the dots that a lenient encoder drops
# reference: PEP 383, CWE-182
# real: harmless: null
# weakened: names are bytes
# proof: canary


def attack(worker):
    return worker.call("fs.read", worker.open.encode() + b"/.\xff./secret")
