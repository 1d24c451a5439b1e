# title: ask for NaN bytes, which are not more than the limit
# reference: CWE-1077, https://cwe.mitre.org/data/definitions/1077.html
# real: killed: a number is not finite
# weakened: finite numbers
# proof: said: allowed to read nan bytes


def attack(worker):
    worker.frame([1, "t.nothing", [], {"length": float("nan")}])
    worker.channel._receive(1 << 20)
