"""Small scripts, honest and nasty, each run for real: what it called must have been inferred, and no more than it says.

The first line of each says what analysis is to find: ``calls:`` the names (``but not`` those
that are taken and never made), and nothing dynamic; ``dynamic:`` the families
whose calls cannot be told (``*`` for all); ``unknown:`` names that are no calls.
"""

from __future__ import annotations

from pathlib import Path

import languages
import pytest
from test_analysis_at_random import ANSWERS, KNOWN, missed

from protocol.tiers import Tier
from sandbox.analysis import analyse

CORPUS = Path(__file__).with_name("corpus")
CALLS = KNOWN | {"proc.list": Tier.OBSERVE}
PARAMETERS = {"p": "read", "f": "fs"}
TRICKS = {
    "goto_loop",
    "escaped_letters",
    "attributes",
    "close_meta",
}  # syntax that LuaJIT lacks, or ``\u{}`` with another meaning


def scripts() -> list[Path]:
    return sorted(path for path in CORPUS.iterdir() if path.suffix in (".lua", ".py"))


def test_corpus_is_large() -> None:
    found = [path.suffix for path in scripts()]
    assert min(found.count(".lua"), found.count(".py")) >= 95


@pytest.mark.parametrize("path", scripts(), ids=lambda path: path.name)
def test_what_a_script_calls_was_inferred(path: Path) -> None:
    source = path.read_bytes()
    language, main = ("python", "main.py") if path.suffix == ".py" else ("lua", "main.lua")
    found = analyse(language, {main: source}, main, CALLS)
    assert not found.syntax_errors, found.syntax_errors
    run = languages.python if language == "python" else languages.lua
    ran = run(source, {**ANSWERS, "proc.list": []}, PARAMETERS)
    made = {name for name, _, _ in ran.channel.calls}
    assert not missed(found, made)
    head = source.decode().partition("\n")[0].lstrip("-# ")
    kind, _, words = head.partition(":")
    words, _, never = words.partition("but not")
    expected = {*words.split(), *never.split()}
    if kind == "calls":
        assert (set(found.calls) - {"param"}, found.dynamic, dict(found.unknown)) == (expected, (), {})
        assert made == {name for name in words.split() if name.startswith(("fs.", "proc."))}, ran.result
    elif kind == "unknown":
        assert set(found.unknown) == made == expected
    else:
        assert kind == "dynamic"
        told = {place.partition(": ")[2].split(" ")[0] for place in found.dynamic}
        families = {name for name in told if name in ("fs", "proc", "json")}
        assert (families or {"*"}) == expected
        assert found.tier is (Tier.INSPECT if expected & {"fs", "proc", "*"} else Tier.COMPUTE)


@pytest.mark.parametrize("path", [path for path in scripts() if path.suffix == ".lua"], ids=lambda path: path.name)
def test_luajit_is_read_the_same(path: Path) -> None:
    """Where LuaJIT runs it at all."""
    source = path.read_bytes()
    found = analyse("luajit", {"main.lua": source}, "main.lua", CALLS)
    if found.syntax_errors:
        assert path.stem in TRICKS
        return
    ran = languages.lua(source, {**ANSWERS, "proc.list": []}, PARAMETERS, flavour="luajit")
    assert not missed(found, {name for name, _, _ in ran.channel.calls})
