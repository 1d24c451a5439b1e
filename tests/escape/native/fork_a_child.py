# title: make a process that goes on when the worker has ended
# reference: https://man7.org/linux/man-pages/man2/fork.2.html, CWE-400
# real: killed: seccomp
# weakened: seccomp, rlimits
# proof: value: 7

import os


def attack(worker):
    child = os.fork()
    if child == 0:
        os._exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
