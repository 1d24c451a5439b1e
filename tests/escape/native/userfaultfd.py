# title: stop the kernel in the middle of a copy, to win a race
# reference: CVE-2022-2590, https://man7.org/linux/man-pages/man2/userfaultfd.2.html
# real: killed: seccomp
# weakened: seccomp, privileges, user_ns, rlimits
# proof: matches: ^[0-9]+$|ENOSYS
# needs: root


def attack(worker):
    return worker.syscall("userfaultfd", 0)
