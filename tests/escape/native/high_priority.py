# title: take the processor from everybody else by a high priority
# reference: https://man7.org/linux/man-pages/man2/setpriority.2.html, CWE-400
# real: killed: seccomp
# weakened: seccomp, privileges, user_ns
# proof: value: -20
# needs: root

import os


def attack(worker):
    os.setpriority(os.PRIO_PROCESS, 0, -20)
    return os.getpriority(os.PRIO_PROCESS, 0)
