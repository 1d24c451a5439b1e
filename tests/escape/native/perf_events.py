# title: watch other processes through performance counters
# reference: CVE-2013-2094
# real: killed: seccomp
# weakened: seccomp, privileges, user_ns, rlimits
# proof: matches: ^[0-9]+$|ENOSYS|ENOENT
# needs: root

import struct


def attack(worker):
    software_clock = struct.pack("=IIQ", 1, 112, 0) + bytes(96)
    return worker.syscall("perf_event_open", software_clock, 0, -1, -1, 0)
