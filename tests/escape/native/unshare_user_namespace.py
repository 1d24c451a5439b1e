# title: enter a user namespace, the door to most of the kernel's attack surface
# reference: CVE-2022-0185, CVE-2023-32233
# real: killed: seccomp
# weakened: seccomp
# proof: value: 0


def attack(worker):
    return worker.syscall("unshare", 0x10000000 | 0x40000000)
