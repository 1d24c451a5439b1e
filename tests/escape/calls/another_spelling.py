# title: write a denied path in another way
# reference: CWE-41, https://man7.org/linux/man-pages/man7/path_resolution.7.html
# real: denied: denies fs.read
# weakened: exact text is denied
# proof: canary


def attack(worker):
    return worker.call("fs.read", worker.secret.replace("/secret", "//.//secret"))
