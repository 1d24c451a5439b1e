# title: run a command whose output never ends
# reference: CWE-400, https://man7.org/linux/man-pages/man1/yes.1.html
# real: harmless: [true, 262144]
# weakened: bounded output
# proof: said: the gate fell over: MemoryError


def attack(worker):
    done = worker.call("proc.command", "endless", timeout=0.1)
    return [done["truncated"], len(done["stdout"])] if isinstance(done, dict) else done
