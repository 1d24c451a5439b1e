# title: read relative to wherever the agent is
# reference: CWE-23, https://man7.org/linux/man-pages/man7/path_resolution.7.html
# real: error: must be an absolute path
# weakened: absolute paths only
# proof: canary


def attack(worker):
    return worker.call("fs.read", "secret")
