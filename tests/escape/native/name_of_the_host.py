# title: learn the name of the host
# reference: https://man7.org/linux/man-pages/man2/uname.2.html, https://attack.mitre.org/techniques/T1082/
# real: killed: seccomp
# weakened: seccomp
# proof: matches: .

import os


def attack(worker):
    return os.uname().nodename
