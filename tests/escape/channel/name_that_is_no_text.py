# title: name a call in bytes, for a check that compares it with texts
# reference: CWE-843, https://github.com/msgpack/msgpack/blob/master/spec.md
# real: killed: a frame of kind 1 is unknown or malformed
# weakened: text names
# proof: said: performed fs.read unchecked


def attack(worker):
    worker.frame([1, b"fs.read", [worker.secret], {}])
    worker.channel._receive(1 << 20)
