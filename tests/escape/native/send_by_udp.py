# title: send a datagram, which landlock does not forbid
# reference: https://docs.kernel.org/userspace-api/landlock.html (TCP only)
# real: killed: seccomp
# weakened: seccomp, net_ns, rlimits
# proof: value: 4

import socket


def attack(worker):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        return sender.sendto(b"data", ("127.0.0.1", worker.port))
