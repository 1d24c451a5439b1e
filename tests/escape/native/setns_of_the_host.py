# title: enter the namespaces of a process of the host
# reference: https://man7.org/linux/man-pages/man2/setns.2.html
# real: killed: seccomp
# weakened: seccomp, landlock, mount_ns, pid_ns, privileges, user_ns, rlimits
# proof: value: 0
# needs: root


def attack(worker):
    with open(f"/proc/{worker.agent}/ns/net") as namespace:
        return worker.syscall("setns", namespace.fileno(), 0x40000000)
