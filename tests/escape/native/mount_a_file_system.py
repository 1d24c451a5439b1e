# title: mount something over what is there
# reference: https://man7.org/linux/man-pages/man2/mount.2.html, CVE-2021-33909
# real: killed: seccomp
# weakened: seccomp, landlock, privileges, user_ns
# proof: value: 0
# needs: root


def attack(worker):
    return worker.syscall("mount", b"none", b"/", b"tmpfs", 0, b"size=4k")
