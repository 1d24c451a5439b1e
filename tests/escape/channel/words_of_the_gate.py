# title: send the gate a frame that only the gate sends
# reference: CWE-346, https://cwe.mitre.org/data/definitions/301.html
# real: killed: a frame of kind 0 is unknown or malformed
# weakened: direction
# proof: said: limits are now


def attack(worker):
    worker.frame([0, ["x", {}, {}, 1 << 40, None, None]])
