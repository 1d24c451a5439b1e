# title: write the dots in letters that some layer makes plain
# reference: https://unicode.org/reports/tr36/ (5.3.1), CWE-180
# real: harmless: null
# weakened: no normalising
# proof: canary


def attack(worker):
    return worker.call("fs.read", worker.open + "/\uff0e\uff0e/secret")
