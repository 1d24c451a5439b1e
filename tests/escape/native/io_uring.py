# title: have the kernel make system calls that the filter never sees
# reference: CVE-2022-2602, https://security.googleblog.com/2023/06/learnings-from-kctf-vrps-42-linux.html
# real: killed: seccomp
# weakened: seccomp, rlimits
# proof: matches: ^[0-9]+$|ENOSYS|EPERM

import ctypes


def attack(worker):
    return worker.syscall("io_uring_setup", 1, ctypes.create_string_buffer(120))
