# title: put a page of a file into a pipe, where flags of the pipe may outlive it
# reference: CVE-2022-0847 (Dirty Pipe)
# real: killed: seccomp
# weakened: seccomp, landlock, mount_ns, rlimits
# proof: value: 1

import os


def attack(worker):
    file = os.open(worker.secret, os.O_RDONLY)
    _, writing = os.pipe()
    return worker.syscall("splice", file, 0, writing, 0, 1, 0)
