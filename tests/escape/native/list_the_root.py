# title: list the files of the host
# reference: https://man7.org/linux/man-pages/man2/getdents.2.html
# real: killed: seccomp
# weakened: seccomp, landlock, mount_ns, rlimits
# proof: matches: etc

import os


def attack(worker):
    return os.listdir("/")
