# title: bind a socket without a file, which needs no file system
# reference: CVE-2020-15257 (containerd-shim was reached through an abstract socket)
# real: killed: seccomp
# weakened: seccomp, rlimits
# proof: value: "bound"

import socket


def attack(worker):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0outrider-{worker.port}")
    return "bound"
