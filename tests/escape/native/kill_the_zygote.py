# title: end the parent, and with it all workers
# reference: https://man7.org/linux/man-pages/man2/kill.2.html
# real: killed: seccomp
# weakened: seccomp, landlock, pid_ns
# proof: lost: sandbox worker lost

import os
import signal


def attack(worker):
    os.kill(os.getppid(), signal.SIGKILL)
    os.read(3, 1)
