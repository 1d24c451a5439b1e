# title: begin a path with a sign that some layer replaces by a home directory
# reference: CWE-41, https://docs.python.org/3/library/os.path.html#os.path.expanduser
# real: error: must be an absolute path
# weakened: a tilde is a character
# proof: matches: root:


def attack(worker):
    return worker.call("fs.read", "~root/../etc/passwd")
