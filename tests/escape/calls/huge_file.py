# title: have the agent read a file with a hole of a terabyte
# reference: CWE-789, https://man7.org/linux/man-pages/man2/truncate.2.html
# real: harmless: 524288
# weakened: a bounded read
# proof: said: the gate fell over: MemoryError

import os


def arrange(place):
    (place.open / "huge").touch()
    os.truncate(place.open / "huge", 1 << 40)


def attack(worker):
    return len(worker.call("fs.read", worker.open + "/huge"))
