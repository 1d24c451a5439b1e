# title: print more than the limit, without the worker's own meter
# reference: CWE-400, https://cwe.mitre.org/data/definitions/779.html
# real: budget: output
# weakened: output limit
# proof: said: kept more than 1 MiB of output


def attack(worker):
    for _ in range(20):
        worker.frame([2, bytes(100_000)])
