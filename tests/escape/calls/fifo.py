# title: have the agent wait for ever at a pipe in which nobody writes
# reference: CWE-400, https://man7.org/linux/man-pages/man7/fifo.7.html
# real: error: is not a regular file
# weakened: regular files only
# proof: lost: the gate hung

import os


def arrange(place):
    os.mkfifo(place.open / "fifo")


def attack(worker):
    return worker.call("fs.read", worker.open + "/fifo")
