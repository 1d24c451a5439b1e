# title: name a parameter in bytes, for a check that looks for a text
# reference: CWE-843, https://github.com/msgpack/msgpack-python#security (strict_map_key)
# real: killed: a map has a key that is not text
# weakened: text keys only
# proof: canary


def attack(worker):
    worker.frame([1, "fs.read", [], {b"path": worker.secret}])
    return worker.channel._receive(1 << 20)[1]
