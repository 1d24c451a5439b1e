# title: become another program
# reference: https://man7.org/linux/man-pages/man2/execve.2.html
# real: killed: seccomp
# weakened: seccomp, landlock, mount_ns, rlimits, mdwe
# proof: touched

import os


def attack(worker):
    os.execv("/usr/bin/touch", ["touch", worker.touched])
