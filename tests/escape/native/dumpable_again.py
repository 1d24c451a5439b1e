# title: open one's memory to the neighbours again
# reference: https://man7.org/linux/man-pages/man2/PR_SET_DUMPABLE.2const.html
# real: killed: seccomp
# weakened: seccomp
# proof: value: 1


def attack(worker):
    worker.syscall("prctl", 4, 1, 0, 0, 0)
    return worker.syscall("prctl", 3, 0, 0, 0, 0)
