# title: ignore the signal that says that the processor time is used up
# reference: https://man7.org/linux/man-pages/man2/getrlimit.2.html (RLIMIT_CPU: SIGXCPU can be caught)
# real: killed: seccomp
# weakened: seccomp
# proof: value: "ignored"

import signal


def attack(worker):
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    return "ignored"
