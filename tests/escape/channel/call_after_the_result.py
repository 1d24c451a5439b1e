# title: make a call when the result has been told and the run is over
# reference: CWE-672, https://cwe.mitre.org/data/definitions/672.html
# real: harmless: "done"
# weakened: the end is the end
# proof: said: acted after the end: log.info

import msgpack

from sandbox.channel import framed


def attack(worker):
    result = [3, "done", None, 0]
    late = [1, "log.info", ["late"], {}]
    worker.write(framed(msgpack.packb(result)) + framed(msgpack.packb(late)))
