# title: hide a byte in the name of a call that a lenient decoder drops
# reference: CWE-176, RFC 3629
# real: killed: not a well-formed frame
# weakened: valid text
# proof: value: null

from sandbox.channel import framed


def attack(worker):
    worker.write(framed(b"\x94\x01\xaat.not\xffhing" + b"\x90\x80"))
    return worker.channel._receive(1 << 20)[1]
