# title: climb out by two dots
# reference: CWE-22, https://owasp.org/www-community/attacks/Path_Traversal
# real: denied: denies fs.read
# weakened: decided on the text
# proof: canary


def attack(worker):
    return worker.call("fs.read", worker.open + "/../secret")
