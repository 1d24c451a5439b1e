# title: take a descriptor out of the parent
# reference: https://man7.org/linux/man-pages/man2/pidfd_getfd.2.html
# real: killed: seccomp
# weakened: seccomp, landlock, privileges, user_ns, pid_ns, rlimits
# proof: matches: ^[0-9]+$
# needs: root

import os


def attack(worker):
    parent = worker.syscall("pidfd_open", os.getppid(), 0)
    for number in range(3, 64):
        try:
            return worker.syscall("pidfd_getfd", parent, number, 0)
        except OSError:
            continue
