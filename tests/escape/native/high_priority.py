# title: take the processor from everybody else by a real-time priority
# reference: https://man7.org/linux/man-pages/man7/sched.7.html, CWE-400
# real: killed: seccomp
# weakened: seccomp, privileges, user_ns
# proof: value: 1
# needs: root

import os


def attack(worker):
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    policy = os.sched_getscheduler(0)
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return policy
