# title: be denied a file whose name is no text, so that the denial cannot be written down
# reference: PEP 383, CWE-778
# real: denied: battery has no rule for fs.read
# weakened: any name can be recorded
# proof: said: the gate fell over: UnicodeEncodeError

import os


def arrange(place):
    with open(os.fsencode(place.root) + b"/\xff", "w"):
        pass


def attack(worker):
    return worker.call("fs.read", os.path.dirname(worker.open).encode() + b"/\xff")
