# title: open a file by a newer system call than the filter may know
# reference: https://man7.org/linux/man-pages/man2/openat2.2.html, CWE-184
# real: killed: seccomp
# weakened: seccomp, landlock, mount_ns, rlimits
# proof: canary

import ctypes
import os


def attack(worker):
    how = (ctypes.c_uint64 * 3)(os.O_RDONLY)
    descriptor = worker.syscall("openat2", -100, worker.secret.encode(), ctypes.byref(how), 24)
    return os.read(descriptor, 100).decode()
