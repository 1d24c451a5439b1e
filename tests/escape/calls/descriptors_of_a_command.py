# title: find open files of the agent in a command that inherits them
# reference: CWE-403, PEP 446
# real: harmless: {"inherited": false}
# weakened: no open descriptors
# proof: value: {"inherited": true}

import os


def arrange(place):
    secret = os.open(place.secret, os.O_RDONLY)
    os.dup2(secret, 240)
    os.close(secret)
    os.set_inheritable(240, True)
    return lambda: os.close(240)


def attack(worker):
    done = worker.call("proc.command", "fds")
    return {"inherited": "240" in done["stdout"].split()} if "stdout" in done else done
