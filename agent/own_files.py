"""The agent's own files, which no call reaches: in a layer beside the owner's ceiling, whatever tier and grant say.

In the state directory lie the owner's ceiling and freeze, which no server can lift, and the keys that prove who this
host is. A call of tier ``admin`` may write any file, so the ceiling would be as high as whoever may write it; and a
server on whose word such calls are made could raise it. What is denied:

- every call with a path in the state directory, its control socket included, by the name that its way there really has;
- to move, remove or change what that way goes through, as the directory would have another name then.

Programs are not held by it: whoever may start one as the agent's user is the agent.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Final

from policies.ceiling import Ceiling
from policies.decide import Layer
from policies.model import Effect, Rule
from policies.paths import PathPattern

NAME: Final = "this host's agent"
_ORIGIN: Final = "the agent's own files:"
_MOVES: Final = (
    "fs.rename", "fs.remove", "fs.rmdir", "fs.unlink", "fs.chmod", "fs.chown", "fs.undo",
)  # fmt: skip
_WILD: Final = frozenset("*?[")


def guarded(ceiling: Ceiling, state: Path) -> Ceiling:
    """Return a ceiling under which nothing reaches the files of an agent.

    Args:
        ceiling: As its owner wrote it.
        state: The agent's directory.
    """
    denied = _rules(os.path.realpath(state))
    layer = ceiling.layer
    if layer is None:
        return replace(
            ceiling, layer=Layer(NAME, (*denied, Rule(Effect.ALLOW, "*", f"{NAME}: no allow")), narrows=True)
        )
    return replace(ceiling, layer=replace(layer, rules=(*denied, *layer.rules)))


def _rules(path: str) -> tuple[Rule, ...]:
    within = (PathPattern.parse(f"{_literal(path)}/**"),)
    way = tuple(PathPattern.parse(_literal(str(each))) for each in Path(path).parents if str(each) != "/")
    moves = [Rule(Effect.DENY, call, _ORIGIN, paths=way) for call in _MOVES if way]
    return (Rule(Effect.DENY, "*", _ORIGIN, paths=within), *moves)


def _literal(path: str) -> str:
    """Return a pattern that fits this path; also others of its form, where it has what a pattern cannot say plainly."""
    return "".join("?" if each in _WILD else each for each in path)
