# title: map memory that is code and can be written
# reference: https://docs.kernel.org/userspace-api/seccomp_filter.html, CWE-119
# real: refused: EACCES
# weakened: seccomp, mdwe
# proof: value: "mapped"

import mmap


def attack(worker):
    mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    return "mapped"
