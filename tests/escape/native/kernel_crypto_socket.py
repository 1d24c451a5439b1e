# title: reach the kernel's cryptography through a socket
# reference: CVE-2019-8912, https://docs.kernel.org/crypto/userspace-if.html
# real: killed: seccomp
# weakened: seccomp, rlimits
# proof: matches: open|EAFNOSUPPORT

import socket


def attack(worker):
    with socket.socket(38, socket.SOCK_SEQPACKET, 0):
        return "open"
