# title: have oneself traced by the parent, and the filter suspended
# reference: CVE-2022-30594
# real: killed: seccomp
# weakened: seccomp
# proof: value: 0


def attack(worker):
    return worker.syscall("ptrace", 0, 0, 0, 0)
