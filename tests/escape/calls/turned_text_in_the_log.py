# title: turn the direction of a text, so that a reader sees another one
# reference: CVE-2021-42574 (Trojan Source)
# real: logged: info: \u202edewolla
# weakened: control characters are shown
# proof: said: dewolla


def attack(worker):
    worker.call("log.info", "\u202edewolla")
