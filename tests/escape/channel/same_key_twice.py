# title: name a parameter twice, for a check that takes the first and a use that takes the last
# reference: CWE-436, https://bishopfox.com/blog/json-interoperability-vulnerabilities
# real: killed: a map names a key twice
# weakened: unique keys
# proof: canary

from sandbox.channel import framed


def attack(worker):
    import msgpack

    first, second = msgpack.packb(worker.open + "/file"), msgpack.packb(worker.secret)
    named = b"\x82" + msgpack.packb("path") + first + msgpack.packb("path") + second
    worker.write(framed(b"\x94\x01" + msgpack.packb("fs.read") + b"\x90" + named))
    return worker.channel._receive(1 << 20)[1]
