# title: configure a file system through a descriptor
# reference: CVE-2022-0185 (an overflow in fsconfig)
# real: killed: seccomp
# weakened: seccomp, privileges, user_ns, rlimits
# proof: matches: ^[0-9]+$
# needs: root


def attack(worker):
    return worker.syscall("fsopen", b"tmpfs", 0)
