# title: have all memory that can be read be code as well, by a personality
# reference: https://man7.org/linux/man-pages/man2/personality.2.html (READ_IMPLIES_EXEC)
# real: killed: seccomp
# weakened: seccomp, landlock, mount_ns, rlimits, mdwe
# proof: matches: rwxp
# needs: x86_64

import mmap


def attack(worker):
    worker.syscall("personality", 0x0400000)
    page = mmap.mmap(-1, mmap.PAGESIZE * 77)
    with open("/proc/self/maps") as maps:
        return ([line.split()[1] for line in maps if "rwx" in line] and "rwxp") or str(len(page))
