# title: make a socket in the file system, which landlock before version 9 lets others connect to
# reference: https://docs.kernel.org/userspace-api/landlock.html
# real: killed: seccomp
# weakened: seccomp, landlock, mount_ns, rlimits
# proof: touched

import socket


def attack(worker):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(worker.touched)
