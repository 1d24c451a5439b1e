# title: change the segments of the processor
# reference: CVE-2015-5157, CVE-2015-3290
# real: killed: seccomp
# weakened: seccomp
# proof: matches: ^[0-9]+$|ENOSYS
# needs: x86_64

import ctypes


def attack(worker):
    return worker.syscall("modify_ldt", 0, ctypes.create_string_buffer(64), 64)
