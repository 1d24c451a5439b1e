# title: make a device of one's own, past the file system
# reference: https://attack.mitre.org/techniques/T1611/, https://man7.org/linux/man-pages/man2/mknod.2.html
# real: killed: seccomp
# weakened: seccomp, landlock, mount_ns, privileges, user_ns, rlimits
# proof: touched
# needs: root

import os
import stat


def attack(worker):
    os.mknod(worker.touched, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
