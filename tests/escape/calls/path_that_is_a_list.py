# title: give a list for a path, past checks that are made on texts
# reference: CWE-1287, CWE-843
# real: error: must be an absolute path, not a list
# weakened: a list is no path
# proof: canary


def attack(worker):
    return worker.call("fs.read", [worker.secret])
