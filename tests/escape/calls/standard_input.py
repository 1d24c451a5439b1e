# title: read the standard input of the agent
# reference: https://man7.org/linux/man-pages/man4/fd.4.html, CWE-61
# real: error: Too many levels of symbolic links
# weakened: decided on the text
# proof: canary

import os


def arrange(place):
    kept = os.dup(0)
    secret = os.open(place.secret, os.O_RDONLY)
    os.dup2(secret, 0)
    os.close(secret)
    return lambda: (os.dup2(kept, 0), os.close(kept))


def attack(worker):
    return worker.call("fs.read", "/dev/stdin")
