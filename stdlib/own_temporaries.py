"""What a run or session made as temporary is its own to use, at each tier at which it could make it.

No rule of a policy can name a directory that is made later, under a name that nobody knows. So where a call reaches for
what the run itself made, the tier's rules about paths let it through as if they named that, for the calls of
:data:`USABLE` alone, and only those that the tier allows on some path. All else stands: what is denied or asked about,
by whomever; how many bytes; and whoever narrows the tier has to name it, unless nothing of others can get in there.

- Calls that bring what was somewhere else (:data:`BRINGING`) are decided on as ever. Else what may be moved and not
  read could be moved in there and read. At the tiers that are shipped that is no loss: what may be moved may also be
  moved to where it may be read. Whoever narrows one of them has told what may be read, so there it counts.
- A call is decided on what it really opened. What a link in there leads to is not in there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from policies.decide import Effective, Layer, decide_below, decide_effective
from policies.model import Effect, Facts, Rule, Verdict
from stdlib.host import RunContext

OTHERS: Final = "temporary files of others:"  # origin of the rule that denies what others have; not about one's own
OWN: Final = "temporary files of its own:"  # origin of what lets it through
_READING: Final = (
    "fs.access", "fs.archive", "fs.disk_usage", "fs.exists", "fs.glob", "fs.grep", "fs.hash", "fs.largest", "fs.lines",
    "fs.list", "fs.lstat", "fs.magic", "fs.open", "fs.read", "fs.read_stream", "fs.readlink", "fs.realpath", "fs.space",
    "fs.stat", "fs.tail", "fs.upload", "fs.walk", "fs.watch", "fs.xattr", "file.read", "file.seek", "file.stat",
)  # fmt: skip
_WRITING: Final = (
    "fs.append", "fs.mkdir", "fs.open_write", "fs.patch", "fs.rmdir", "fs.symlink", "fs.truncate", "fs.unlink",
    "fs.utime", "fs.write", "fs.write_stream", "file.sync", "file.truncate", "file.write", "writer.finish",
    "writer.write",
)  # fmt: skip
USABLE: Final = (*_READING, *_WRITING)
BRINGING: Final = ("fs.copy", "fs.extract", "fs.fetch", "fs.link", "fs.rename", "fs.undo")


class Decided:
    """What one run or session may do, with what it made itself.

    Args:
        effective: The tier's layer first; one layer may deny what is temporary, by rules of the origin ``OTHERS``.
        context: Of the run or session; knows what it made.
    """

    def __init__(self, effective: Effective, context: RunContext) -> None:
        self._effective = effective
        self._context = context
        self._own: Effective | None = None  # for what it made; put together when it is first asked for

    def decide(self, call: str, facts: Facts) -> Verdict:
        """Return the verdict on a call. What is made later has a name that nobody could have asked about before."""
        return decide_effective(self._for(facts.path), call, facts)

    def below(self, call: str, directory: str) -> bool | None:
        """Tell of all below a real directory, as :func:`policies.decide.decide_below`."""
        return decide_below(self._for(directory), call, directory)

    def _for(self, path: str | None) -> Effective:
        made = self._context.temporaries
        own = holder(made, path) if made else None
        if own is None:
            return self._effective
        if self._own is None:
            self._own = for_own(self._effective, own)
        return self._own


def holder(made: Sequence[str], path: str | None) -> str | None:
    """Return which of the directories that a run made a real path is or lies in; None if none."""
    if path is None:
        return None
    return next((own for own in made if path == own or path.startswith(f"{own}/")), None)


def for_own(effective: Effective, made: str) -> Effective:
    """Return what holds for what a run made itself.

    Args:
        effective: What holds for all else.
        made: The real path of one directory that it made; they all lie in one place.
    """
    layers = [
        replace(layer, rules=tuple(rule for rule in layer.rules if rule.origin != OTHERS)) for layer in effective.layers
    ]
    is_sealed = any(_brings_nothing(layer, made, effective) for layer in layers[1:])
    return replace(
        effective, layers=tuple(_opened(layer) if is_sealed or at == 0 else layer for at, layer in enumerate(layers))
    )


def _brings_nothing(layer: Layer, made: str, effective: Effective) -> bool:
    """Tell whether a layer lets nothing be brought to or below a directory, whatever anybody who is asked says."""
    rules = tuple(replace(rule, effect=Effect.ALLOW) if rule.effect is Effect.ASK else rule for rule in layer.rules)
    alone = replace(effective, layers=(replace(layer, rules=rules),))
    return not any(
        decide_effective(alone, call, Facts(path=made)).allowed or decide_below(alone, call, made) is not False
        for call in BRINGING
    )


def _opened(layer: Layer) -> Layer:
    return replace(layer, rules=(*layer.rules, *_opening(layer.rules)))


def _opening(rules: Sequence[Rule]) -> list[Rule]:
    """Return what rules allow on some paths, for what may be used, on whatever path."""
    return [
        replace(rule, call=call, origin=OWN, paths=(), exceptions=())
        for call in USABLE
        for rule in rules
        if rule.effect is Effect.ALLOW and rule.paths and rule.names(call)
    ]
