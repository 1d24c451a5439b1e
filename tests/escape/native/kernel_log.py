# title: read the addresses in the kernel's log
# reference: https://man7.org/linux/man-pages/man2/syslog.2.html, CWE-200
# real: killed: seccomp
# weakened: seccomp, privileges, user_ns
# proof: matches: ^[0-9]+$
# needs: root


def attack(worker):
    return worker.syscall("syslog", 10, 0, 0)
