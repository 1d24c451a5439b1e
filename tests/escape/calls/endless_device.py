# title: have the agent read a device that never ends
# reference: CWE-400, https://man7.org/linux/man-pages/man4/zero.4.html
# real: error: is not a regular file
# weakened: regular files only
# proof: said: the gate fell over: MemoryError


def attack(worker):
    return worker.call("fs.read", "/dev/zero")
