"""Objects that nobody counts: in an interpreter of their own, as there is no way back."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc, sys, weakref
from sandbox.immortal import immortalise

class Thing:
    pass

kept = [Thing(), ("a text of its own", [1 << 70]), {"key": Thing()}]
before = sys.getrefcount(kept)
made = immortalise()
held = [kept, kept[0], kept[1], kept[1][0], kept[1][1], kept[1][1][0], kept[2]["key"], Thing, Thing.__init__,
        list.append, str.__dict__["join"]]
counts = [sys.getrefcount(each) for each in held]
none = sys.getrefcount(None)

later = Thing()
gone = weakref.ref(later)
count = sys.getrefcount(later)
del later
assert gone() is None, "what is made later is still freed"

ring = Thing()
ring.own = ring
gone = weakref.ref(ring)
del ring
gc.collect()
assert gone() is None, "and found when it holds itself"

kept[2].clear()
del kept, held
gc.collect()
print(made, before, set(counts) == {none}, count)
"""


def test_what_there_is_becomes_immortal_and_what_comes_later_does_not() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    made, before, is_immortal, later = done.stdout.split()
    assert (before, later) == ("2", "2")
    if sys.version_info < (3, 12):  # it has nothing of the kind, and is left as it is
        assert (made, is_immortal) == ("0", "False")
    else:
        assert int(made) > 10_000
        assert is_immortal == "True"
