# title: leave a key with the kernel
# reference: CVE-2016-0728
# real: killed: seccomp
# weakened: seccomp
# proof: matches: ^[0-9]+$|ENOSYS


def attack(worker):
    return worker.syscall("add_key", b"user", b"outrider", b"secret", 6, -2)
