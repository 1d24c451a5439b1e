# title: map more memory than a script may have
# reference: https://man7.org/linux/man-pages/man2/mmap.2.html, CWE-770
# real: refused: ENOMEM
# weakened: rlimits
# proof: over: memory

import mmap


def attack(worker):
    page = mmap.mmap(-1, 150 << 20)
    for at in range(0, len(page), mmap.PAGESIZE):
        page[at] = 1
