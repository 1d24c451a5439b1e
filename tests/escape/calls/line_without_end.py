# title: write a line of the log that fills the disk of whoever keeps it
# reference: CWE-779, https://attack.mitre.org/techniques/T1499/
# real: error: text: is longer than
# weakened: bounded lines
# proof: said: kept a line of more than 500000 characters


def attack(worker):
    worker.call("log.info", "x" * 600_000)
