# title: find out which files exist, which landlock does not forbid
# reference: https://docs.kernel.org/userspace-api/landlock.html (stat is not restricted)
# real: killed: seccomp
# weakened: seccomp, mount_ns
# proof: value: true

import os


def attack(worker):
    return os.path.exists(worker.secret)
