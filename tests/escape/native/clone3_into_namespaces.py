# title: make a child in a user namespace of its own, in which it has every capability
# reference: CVE-2022-0185, https://man7.org/linux/man-pages/man2/clone.2.html
# real: killed: seccomp
# weakened: seccomp, rlimits, user_ns, privileges
# proof: value: 7

import ctypes
import os


def attack(worker):
    arguments = (ctypes.c_uint64 * 8)(0x10000000, 0, 0, 0, 17)
    child = worker.syscall("clone3", arguments, 64)
    if child == 0:
        os._exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
