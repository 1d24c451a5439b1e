# title: take a lock of the kernel's that inherits priority, whose code has given root more than once
# reference: CVE-2014-3153, CVE-2021-3347, https://man7.org/linux/man-pages/man2/futex.2.html
# real: killed: seccomp
# weakened: seccomp
# proof: value: 0

import ctypes


def attack(worker):
    return worker.syscall("futex", ctypes.create_string_buffer(8), 6, 0, 0, 0, 0)
