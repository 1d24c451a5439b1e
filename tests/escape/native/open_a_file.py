# title: open a file by its name
# reference: https://man7.org/linux/man-pages/man2/open.2.html
# real: killed: seccomp
# weakened: seccomp, landlock, mount_ns, rlimits
# proof: canary


def attack(worker):
    with open(worker.secret) as file:
        return file.read()
