# title: send an extension type, whose bytes a gate may turn into an object
# reference: CWE-502, https://docs.python.org/3/library/pickle.html
# real: killed: extension types are not allowed
# weakened: no extensions
# proof: touched

import msgpack


def attack(worker):
    order = f"cos\nmkdir\n(S'{worker.touched}'\ntR."
    worker.frame([1, "t.nothing", [msgpack.ExtType(5, order.encode())], {}])
    worker.channel.receive_start()
