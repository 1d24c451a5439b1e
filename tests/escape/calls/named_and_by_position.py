# title: give a parameter twice, once for the check and once for the use
# reference: CWE-235, https://owasp.org/www-project-web-security-testing-guide/ (parameter pollution)
# real: error: path: given twice
# weakened: one way to name a parameter
# proof: canary


def attack(worker):
    return worker.call("fs.read", worker.open, path=worker.secret)
