# title: read the memory of the agent as a file
# reference: CVE-2012-0056, https://man7.org/linux/man-pages/man5/proc_pid_mem.5.html
# real: denied: no rule
# weakened: a star stops at a slash
# proof: canary


def attack(worker):
    return worker.call("fs.read", "/proc/self/mem")
