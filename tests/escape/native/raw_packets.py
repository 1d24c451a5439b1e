# title: read every packet of the host
# reference: CVE-2020-14386, CVE-2017-7308
# real: killed: seccomp
# weakened: seccomp, privileges, user_ns, rlimits
# proof: value: "open"
# needs: root

import socket


def attack(worker):
    with socket.socket(17, socket.SOCK_RAW, 0x0300):
        return "open"
