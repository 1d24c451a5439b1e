# title: make system calls from the x32 table, whose numbers a filter may not know
# reference: https://docs.kernel.org/userspace-api/seccomp_filter.html (Pitfalls)
# real: killed: seccomp
# weakened: seccomp
# proof: matches: ^[0-9]+$|ENOSYS
# needs: x86_64


def attack(worker):
    return worker.syscall(0x40000000 | 39)  # getpid
