# title: give a map where a command takes a list of texts
# reference: CWE-1287, CWE-88
# real: error: must be a list of at most
# weakened: arguments are texts
# proof: said: the gate fell over


def attack(worker):
    return worker.call("proc.command", "echo", {"x": 1})
