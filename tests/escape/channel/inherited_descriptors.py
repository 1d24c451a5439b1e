# title: look for descriptors that were open before the worker was
# reference: CVE-2024-21626 (runc leaked a directory of the host), CVE-2016-9962
# real: harmless: null
# weakened: closed descriptors
# proof: canary

import os


def attack(worker):
    for number in range(3, 64):
        if number == worker.descriptor:
            continue
        try:
            found = os.read(number, 100)
        except OSError:
            continue
        if found.startswith(b"canary"):
            return found.decode()
