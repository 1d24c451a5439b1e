# title: tell the result, and go on using the processor
# reference: CWE-404, https://cwe.mitre.org/data/definitions/772.html
# real: harmless: "done"
# weakened: nobody waits for a worker
# proof: lost: the gate hung
# limits: cpu=20, wall=20


def attack(worker):
    worker.finish("done")
    while True:
        pass
