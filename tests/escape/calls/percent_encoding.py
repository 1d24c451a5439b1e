# title: write the dots in percent signs
# reference: CVE-2021-41773 (Apache httpd decoded after the check)
# real: harmless: null
# weakened: percent is a character
# proof: canary


def attack(worker):
    return worker.call("fs.read", worker.open + "/%2e%2e/secret")
