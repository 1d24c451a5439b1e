# title: take all capabilities back
# reference: https://man7.org/linux/man-pages/man2/capset.2.html
# real: killed: seccomp
# weakened: seccomp, privileges, user_ns
# proof: value: "all that the parent has"
# needs: root

import ctypes


def attack(worker):
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable, in two halves
    worker.syscall("capget", header, sets)
    sets[0], sets[3] = sets[1], sets[4]
    worker.syscall("capset", header, sets)
    return "all that the parent has" if sets[0] else "nothing"
