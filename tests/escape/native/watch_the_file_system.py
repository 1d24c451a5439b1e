# title: watch all that is opened on the host
# reference: https://man7.org/linux/man-pages/man2/fanotify_init.2.html
# real: killed: seccomp
# weakened: seccomp, privileges, user_ns, rlimits
# proof: matches: ^[0-9]+$|ENOSYS
# needs: root


def attack(worker):
    return worker.syscall("fanotify_init", 0, 0)
