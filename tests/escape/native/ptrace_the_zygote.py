# title: trace the parent, from which all later workers come
# reference: https://man7.org/linux/man-pages/man2/ptrace.2.html, CVE-2019-13272
# real: killed: seccomp
# weakened: seccomp, landlock, privileges, user_ns, pid_ns
# proof: value: "traced"
# needs: root

import os


def attack(worker):
    worker.syscall("ptrace", 16, os.getppid(), 0, 0)
    os.waitpid(os.getppid(), 0)
    worker.syscall("ptrace", 17, os.getppid(), 0, 0)
    return "traced"
