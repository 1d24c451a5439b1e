# title: run a command whose output never ends
# reference: CWE-400, https://man7.org/linux/man-pages/man1/yes.1.html
# real: harmless: [true, 262144]
# weakened: bounded output
# proof: said: the gate fell over: MemoryError


def attack(worker):
    for timeout in (0.1, 1, 10):  # a slow machine takes its time to start it
        done = worker.call("proc.command", "endless", timeout=timeout)
        if not isinstance(done, dict):
            return done
        if done["truncated"]:
            break
    return [done["truncated"], len(done["stdout"])]
