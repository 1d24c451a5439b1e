# title: send half a frame, and nothing more
# reference: CWE-400, https://en.wikipedia.org/wiki/Slowloris_(cyber_attack)
# real: budget: wall
# weakened: wall limit
# proof: lost: the gate hung
# limits: wall=0.3

import os


def attack(worker):
    worker.write(b"\0\0\1\0half")
    while True:
        os.read(worker.descriptor, 1)
