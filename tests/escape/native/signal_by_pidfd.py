# title: signal a process of the host through a descriptor
# reference: https://man7.org/linux/man-pages/man2/pidfd_send_signal.2.html
# real: killed: seccomp
# weakened: seccomp, landlock, pid_ns, privileges, user_ns, rlimits
# proof: value: 0
# needs: root


def attack(worker):
    agent = worker.syscall("pidfd_open", worker.agent, 0)
    return worker.syscall("pidfd_send_signal", agent, 0, 0, 0)
