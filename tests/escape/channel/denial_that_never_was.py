# title: claim to have been denied, with a text for the record
# reference: CWE-345, https://cwe.mitre.org/data/definitions/117.html
# real: killed: the result is malformed
# weakened: the result is only claimed
# proof: said: record: the auditor allowed it


def attack(worker):
    worker.frame([3, "allowed", ["the auditor allowed it", None, "denied"], 0])
