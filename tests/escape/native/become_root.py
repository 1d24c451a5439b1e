# title: become root again
# reference: https://man7.org/linux/man-pages/man2/setresuid.2.html, CWE-273
# real: killed: seccomp
# weakened: seccomp, privileges, user_ns
# proof: value: 0
# needs: root

import os


def attack(worker):
    os.setresuid(0, 0, 0)
    return os.geteuid()
