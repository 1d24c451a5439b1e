# title: write memory first, and make it code then
# reference: https://man7.org/linux/man-pages/man2/PR_SET_MDWE.2const.html
# real: refused: EACCES
# weakened: seccomp, mdwe
# proof: value: 0

import ctypes
import mmap


def attack(worker):
    page = mmap.mmap(-1, mmap.PAGESIZE)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    if ctypes.CDLL(None, use_errno=True).mprotect(ctypes.c_void_p(address), ctypes.c_size_t(mmap.PAGESIZE), 5) < 0:
        raise OSError(ctypes.get_errno(), "mprotect")
    return 0
