# title: go through the link that is the root of a process
# reference: CVE-2019-5736, https://man7.org/linux/man-pages/man5/proc_pid_root.5.html
# real: error: Too many levels of symbolic links
# weakened: decided on the text
# proof: canary


def attack(worker):
    return worker.call("fs.read", "/proc/self/root" + worker.secret)
