# title: make calls without end
# reference: CWE-799, CWE-770
# real: budget: calls
# weakened: call limit
# proof: said: more than 100 calls
# limits: calls=100

import contextlib


def attack(worker):
    for _ in range(101):
        with contextlib.suppress(Exception):  # that there is no such call is an answer like any other
            worker.call("t.nothing")
