# title: end an argument early by a zero byte
# reference: CWE-158, https://man7.org/linux/man-pages/man2/execve.2.html
# real: error: must not hold a NUL
# weakened: arguments are texts
# proof: said: the gate fell over: ValueError


def attack(worker):
    return worker.call("proc.command", "echo", ["x\0y"])
