# title: connect to a service on the loopback
# reference: https://man7.org/linux/man-pages/man7/tcp.7.html, CWE-918
# real: killed: seccomp
# weakened: seccomp, landlock, net_ns, rlimits
# proof: canary

import socket


def attack(worker):
    with socket.socket() as connection:
        connection.connect(("127.0.0.1", worker.port))
        return connection.recv(100).decode()
