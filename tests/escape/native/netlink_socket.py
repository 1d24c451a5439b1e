# title: speak to the kernel through netlink
# reference: CVE-2013-1763, CVE-2024-1086
# real: killed: seccomp
# weakened: seccomp, rlimits
# proof: value: "open"

import socket


def attack(worker):
    with socket.socket(16, socket.SOCK_RAW, 0):
        return "open"
