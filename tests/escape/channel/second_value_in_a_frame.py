# title: put a second message behind the first one, into the same frame
# reference: CWE-444, https://portswigger.net/web-security/request-smuggling
# real: killed: not a well-formed frame
# weakened: one value a frame
# proof: value: "smuggled"

import msgpack

from sandbox.channel import framed


def attack(worker):
    first = msgpack.packb([2, b"harmless"])
    second = msgpack.packb([3, "smuggled", None, 0])
    worker.write(framed(first + second))
