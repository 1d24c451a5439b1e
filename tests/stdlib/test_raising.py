"""Every error that a call can raise is named in the reference."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from running import perform

from protocol.errors import OutriderError
from protocol.tiers import Tier
from stdlib.call_specs import CallSpec
from stdlib.catalogue import load
from stdlib.host import Host, RunContext
from stdlib.raising import errors_of

#: What the head of the page says of all calls.
OF_ALL = {"invalid_argument", "denied", "budget", "deadline", "too_large", "internal"}


def spec_of(name: str) -> CallSpec:
    spec = load().find(name)
    assert spec is not None
    return spec


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("sys.uptime", {"unavailable"}),  # by a function of stdlib.host
        ("net.sockets", {"unavailable"}),  # by stdlib.tools, beneath a helper of a helper
        ("net.neighbours", {"unavailable"}),
        ("sys.service_control", {"not_found", "unavailable", "deadline"}),
        ("file.seek", {"not_found"}),  # by a method of the handle
        ("fs.rename", {"not_found", "conflict", "unavailable"}),  # by methods of stdlib.places
        ("fs.walk", {"not_found", "unavailable"}),  # by stdlib.trees
        ("fs.fetch", {"not_found", "conflict", "untrusted"}),  # by a protocol, which says so in its docstring
        ("proc.exec", {"not_found", "unavailable", "budget"}),
    ],
)
def test_errors_of_helpers_are_named(name: str, codes: set[str]) -> None:
    assert codes <= set(errors_of(spec_of(name)))


@pytest.mark.parametrize("name", ["fs.changes", "time.now", "check.state", "ctx.reason"])
def test_what_raises_nothing_of_its_own_says_so(name: str) -> None:
    """A list that names everything would be as good as none."""
    assert errors_of(spec_of(name)) == []


BARE = sorted(
    spec.name
    for spec in load()
    if spec.implementation is not None
    and not spec.changes
    and spec.tier <= Tier.INSPECT
    and not any(item.is_required for item in spec.parameters)
    and spec.family in ("sys", "net", "proc", "fs")
)


@pytest.mark.parametrize("name", BARE)
async def test_what_a_host_without_anything_makes_of_a_call_is_named(name: str, tmp_path: Path) -> None:
    """Nothing in /proc and /sys, no tool of the distribution: whatever fails, fails with a code of the reference."""
    nowhere = str(tmp_path / "nowhere")
    host = replace(
        Host(), proc=nowhere, sys=nowhere, etc=nowhere, lib=nowhere, var=nowhere, run=nowhere, dev=nowhere, tools=()
    )
    raised: set[str] = set()
    try:
        await perform(name, host=host, run=RunContext())
    except OutriderError as error:
        raised.add(error.code)
    assert raised <= {*errors_of(spec_of(name)), *OF_ALL}
