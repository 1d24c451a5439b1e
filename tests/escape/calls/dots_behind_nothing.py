# title: climb out behind a directory that does not exist
# reference: https://man7.org/linux/man-pages/man7/path_resolution.7.html, CWE-22
# real: denied: no rule
# weakened: a directory that is there
# proof: canary


def attack(worker):
    return worker.call("fs.read", worker.open + "/nosuch/../../secret")
