# title: make a second call before the first one is answered
# reference: CWE-362, https://chromium.googlesource.com/chromium/src/+/main/docs/security/mojo.md
# real: killed: a frame came while a call was open
# weakened: one open call
# proof: said: a second call is here before the first one is answered

import msgpack

from sandbox.channel import framed


def attack(worker):
    one = framed(msgpack.packb([1, "t.nothing", [], {}]))
    worker.write(one + one)
    worker.channel._receive(1 << 20)
