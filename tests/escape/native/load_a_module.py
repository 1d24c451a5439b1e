# title: load a module into the kernel
# reference: https://man7.org/linux/man-pages/man2/init_module.2.html, https://attack.mitre.org/techniques/T1547/006/
# real: killed: seccomp
# weakened: seccomp, privileges, user_ns
# proof: matches: EBADF|ENOSYS|ENOEXEC|EINVAL
# needs: root


def attack(worker):
    return worker.syscall("finit_module", 3, b"", 0)  # a socket is no module; the kernel gets as far as looking at it
