# title: load a program into the kernel
# reference: CVE-2021-3490, CVE-2020-8835
# real: killed: seccomp
# weakened: seccomp, privileges, user_ns, rlimits
# proof: matches: ^[0-9]+$|ENOSYS
# needs: root

import struct


def attack(worker):
    array_of_one = struct.pack("=IIIII", 2, 4, 8, 1, 0) + bytes(100)
    return worker.syscall("bpf", 0, array_of_one, len(array_of_one))
