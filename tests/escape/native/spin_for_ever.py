# title: use the processor for ever, without one system call
# reference: CWE-835, https://man7.org/linux/man-pages/man2/getrlimit.2.html
# real: budget: cpu
# weakened: deadline outside
# proof: over: time
# limits: cpu=0.2


def attack(worker):
    while True:
        pass
