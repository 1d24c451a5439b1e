# title: print nothing for ever, which uses up no limit of bytes
# reference: CWE-770, https://cwe.mitre.org/data/definitions/834.html
# real: killed: a frame of kind 2 is unknown or malformed
# weakened: output costs something
# proof: said: kept 1000 pieces


def attack(worker):
    for _ in range(1000):
        worker.frame([2, b""])
