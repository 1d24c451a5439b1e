# title: set a parameter that only the implementation knows
# reference: CWE-915, https://owasp.org/API-Security/editions/2023/en/0xa3-broken-object-property-level-authorization/
# real: error: has no parameter '_root'
# weakened: known parameters only
# proof: canary


def attack(worker):
    return worker.call("fs.read", worker.secret, _root="/")
