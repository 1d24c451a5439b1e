# title: set the limits of the parent, so that it can make no more workers
# reference: https://man7.org/linux/man-pages/man2/getrlimit.2.html (prlimit)
# real: killed: seccomp
# weakened: seccomp
# proof: value: "set"

import os
import resource


def attack(worker):
    parent = os.getppid()
    resource.prlimit(parent, resource.RLIMIT_CORE, resource.prlimit(parent, resource.RLIMIT_CORE))
    return "set"
