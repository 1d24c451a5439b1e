"""The agent's own files, which no call reaches: in a layer beside the owner's ceiling, whatever tier and grant say.

In the state directory lie the owner's ceiling and freeze, which no server can lift, and the keys that prove who this
host is. A call of tier ``admin`` may write any file, so the ceiling would be as high as whoever may write it; and a
server on whose word such calls are made could raise it. What is denied:

- every call with a path in the state directory, its control socket included, by the name that its way there really has,
  and by those that mounts give it beside (:mod:`agent.other_names`), as they are when a run or a session begins;
- whatever other names a file of it has, hard links, when a call opens one (:mod:`stdlib.kept_objects`);
- to move, remove or change what that way goes through, links as well: the directory would have another name then, or
  an agent that is started anew would find another directory, with another ceiling, under the name that it is told.

Programs are not held by it: whoever may start one as the agent's user is the agent.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from agent import temporaries
from policies.ceiling import Ceiling
from policies.decide import Layer
from policies.model import Effect, Rule
from policies.paths import PathPattern, literal
from stdlib.kept_objects import KeptObjects

NAME: Final = "this host's agent"
_ORIGIN: Final = "the agent's own files:"
_MOVES: Final = (
    "fs.rename", "fs.remove", "fs.rmdir", "fs.unlink", "fs.chmod", "fs.chown", "fs.undo",
)  # fmt: skip
_MAX_LINKS: Final = 40  # that the kernel follows; path_resolution(7)


def kept_objects(state: Path) -> KeptObjects:
    """Return what no call may reach by another name than its own."""
    return KeptObjects(os.path.realpath(state))


def guarded(ceiling: Ceiling, state: Path, others: Sequence[str] = (), of_temporaries: Sequence[str] = ()) -> Ceiling:
    """Return a ceiling under which nothing reaches the files of an agent, nor what runs have as temporary.

    Args:
        ceiling: As its owner wrote it.
        state: The agent's directory.
        others: Other paths below which mounts show it or a part of it.
        of_temporaries: The same of the directory where temporary files lie.
    """
    ways = dict.fromkeys(each for path in (str(state), *others) for each in _way(path))
    denied = (*_rules([os.path.realpath(state), *others], list(ways)), temporaries.rule(of_temporaries))
    layer = ceiling.layer
    if layer is None:
        return replace(
            ceiling, layer=Layer(NAME, (*denied, Rule(Effect.ALLOW, "*", f"{NAME}: no allow")), narrows=True)
        )
    return replace(ceiling, layer=replace(layer, rules=(*denied, *layer.rules)))


def _rules(paths: list[str], way: list[str]) -> tuple[Rule, ...]:
    within = tuple(PathPattern.parse(f"{literal(path)}/**") for path in paths)
    through = tuple(PathPattern.parse(literal(each)) for each in way)
    moves = [Rule(Effect.DENY, call, _ORIGIN, paths=through) for call in _MOVES]
    return (Rule(Effect.DENY, "*", _ORIGIN, paths=within), *moves)


def _way(path: str) -> list[str]:
    """Return each directory and each link that the way to ``path`` goes through, by where it really is."""
    found: dict[str, None] = {}
    here, links = "/", 0
    ahead = os.path.join(os.getcwd(), path).split("/")
    while ahead and links <= _MAX_LINKS:
        name = ahead.pop(0)
        if name in ("", "."):
            continue
        if name == "..":
            here = os.path.dirname(here)
            continue
        there = os.path.join(here, name)
        found[there] = None
        try:
            target = os.readlink(there)
        except OSError:  # no link
            here = there
            continue
        links += 1
        here = "/" if target.startswith("/") else here
        ahead = target.split("/") + ahead
    return list(found)
