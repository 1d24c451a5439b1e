# title: give a number for a path, which open takes for a descriptor
# reference: https://docs.python.org/3/library/functions.html#open, CWE-843
# real: error: must be an absolute path, not a number
# weakened: a path is a text
# proof: canary

import contextlib
import os


def arrange(place):
    secret = os.open(place.secret, os.O_RDONLY)
    os.dup2(secret, 230)
    os.close(secret)

    def stop():
        with contextlib.suppress(OSError):  # whoever took it for a path has closed it
            os.close(230)

    return stop


def attack(worker):
    return worker.call("fs.read", 230)
