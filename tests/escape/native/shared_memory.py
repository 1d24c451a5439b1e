# title: make shared memory, which outlives the process that made it
# reference: https://man7.org/linux/man-pages/man2/shmget.2.html
# real: killed: seccomp
# weakened: seccomp
# proof: matches: ^[0-9]+$

import ctypes


def attack(worker):
    segment = worker.syscall("shmget", 0, 4096, 0o1600)
    ctypes.CDLL(None).shmctl(segment, 0, None)
    return segment
