# title: take back the wish to die with the parent
# reference: https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html
# real: killed: seccomp
# weakened: seccomp
# proof: value: 0


def attack(worker):
    return worker.syscall("prctl", 1, 0, 0, 0, 0)
