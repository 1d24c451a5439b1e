"""Names of families that a script has for variables of its own: those are not replaced, there is nothing to mistake.

A name is the script's own if the first thing that happens to it, in the one file that has it at all, is that a
statement of the file's outermost level assigns it: from then on nobody can reach the family by it, and nobody did
before. A reader tells what happens in the order in which it is written, bodies of functions where they stand; a mention
in a body that stands before the assignment counts as one before it, whenever it runs.

If such a variable is then asked for a member that the family has too (``state.get``), the text reads like the call and
is none: that is a replacement after all.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from sandbox.flow import Flow

_WORD = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*")
#: Words with which a file may reach globals without naming them.
_REACHING = frozenset({"_G", "_ENV", "getfenv", "setfenv", "load", "loadstring", "getattr", "globals"})


class OwnNames:
    """What one file does to the names of families.

    Args:
        flow: Where replacements are noted.
        free: Names that no other file has.
    """

    def __init__(self, flow: Flow, free: frozenset[str]) -> None:
        self._flow = flow
        self._free = free
        self._places: dict[str, str] = {}  # own name -> where it is assigned first
        self._mentioned: set[str] = set()

    def begin(self) -> None:
        """Begin to read the file anew."""
        self._places.clear()
        self._mentioned.clear()

    def store(self, name: str, place: str, *, is_certain: bool) -> bool:
        """Note that a global is assigned; return whether it is the script's own.

        Args:
            name: Of the global.
            place: Where.
            is_certain: Whether the statement is one of the outermost level, which nothing can skip.
        """
        if name in self._places:
            return True
        if is_certain and name in self._free and name not in self._mentioned and self._flow.known.is_family(name):
            self._places[name] = place
            return True
        self._mentioned.add(name)
        return False

    def read(self, name: str) -> bool:
        """Note that a global is read; return whether it is the script's own."""
        self._mentioned.add(name)
        return name in self._places

    def take(self, name: str, members: Iterable[str]) -> None:
        """Note which members are asked of a global."""
        place = self._places.get(name)
        if place is not None and any(f"{name}.{member}" in self._flow.known.calls for member in members):
            self._flow.note_dynamic(place, f"{name} is replaced", name)


def free_in(families: Iterable[str], sources: Mapping[str, bytes]) -> dict[str, frozenset[str]]:
    """Return, for each file, the families that no other file names, not even within a text. Each is read once."""
    watched = frozenset(families)
    words = {name: {word.decode("ascii") for word in set(_WORD.findall(source))} for name, source in sources.items()}
    named = {name: found & watched for name, found in words.items()}
    reaching = {name for name, found in words.items() if found & _REACHING}
    counts = Counter(word for found in named.values() for word in found)
    return {
        name: frozenset() if reaching - {name} else watched - {word for word in counts if counts[word] > (word in own)}
        for name, own in named.items()
    }
