# title: read the environment of the agent below a directory of counters
# reference: CWE-526, https://man7.org/linux/man-pages/man5/proc_pid_environ.5.html
# real: denied: no rule
# weakened: a star stops at a slash
# proof: matches: PATH


def attack(worker):
    return worker.call("fs.read", "/proc/self/environ")
