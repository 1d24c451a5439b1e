# title: remove a file
# reference: https://man7.org/linux/man-pages/man2/unlink.2.html
# real: killed: seccomp
# weakened: seccomp, landlock, mount_ns
# proof: value: "gone"

import os


def attack(worker):
    os.unlink(worker.secret)
    return "present" if os.path.exists(worker.secret) else "gone"
