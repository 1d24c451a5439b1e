# title: make call after call and never read an answer, until the agent's memory is full of them
# reference: CWE-770, https://cwe.mitre.org/data/definitions/400.html
# real: killed: a frame came before the answer to the call was read
# weakened: answers are waited for
# proof: lost: the gate hung
# limits: calls=100, wall=5

import time

import msgpack

from sandbox.channel import framed


def arrange(place):
    (place.open / "large").write_bytes(b"x" * (512 << 10))


def attack(worker):
    for _ in range(100):
        worker.write(framed(msgpack.packb([1, "fs.read", [worker.open + "/large"], {}])))
        begun = time.monotonic()
        while time.monotonic() - begun < 0.05:  # until the answer is there, as far as it fits
            pass
