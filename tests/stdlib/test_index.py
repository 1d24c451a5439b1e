"""The agent's index of the calls: it is what the declarations say, and loads no more than what is used."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from protocol.errors import InternalError
from stdlib import call_specs, catalogue, index


def fresh(program: str) -> Any:
    """Return what a program prints, as JSON, in an interpreter that has loaded nothing yet."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return json.loads(done.stdout)


def test_file_is_what_the_declarations_say() -> None:
    assert index.FILE.read_text(encoding="utf-8") == index.text(), "run make docs"


def test_every_call_is_found_as_in_the_catalogue_and_bound_alike() -> None:
    calls, all_calls = index.load(), catalogue.load()
    assert calls.bindings() == all_calls.bindings()
    assert all(calls.find(spec.name) is all_calls.find(spec.name) for spec in all_calls)
    assert calls.find("fs.nothing") is None
    assert calls.find("param") is None, "a local call"


def test_each_call_alone_is_found_in_the_module_that_the_index_names() -> None:
    """Every module once, in one interpreter each would take minutes: they declare the same whoever came before."""
    named = {row["name"]: row["module"] for row in json.loads(index.FILE.read_text(encoding="utf-8"))}
    for spec in catalogue.load():
        declares = spec.implementation.__module__ if spec.implementation is not None else ""
        assert named[spec.name] == declares, spec.name


def test_only_what_is_used_is_loaded() -> None:
    program = """
import json, sys
from stdlib.index import load
calls = load()
calls.bindings()
before = [name for name in sys.modules if name.startswith("stdlib.sys") or name.startswith("stdlib.fs")]
found = calls.find("sys.uptime").name
print(json.dumps([before, found, "stdlib.sys" in sys.modules, "stdlib.sys_packages" in sys.modules]))
"""
    assert fresh(program) == [[], "sys.uptime", True, False]


def test_agent_starts_without_the_modules_of_calls_and_without_what_only_they_need() -> None:
    program = """
import json, sys
import agent.__main__, agent.supervisor
from stdlib import catalogue, index
index.load()
families = [name for name in catalogue.FAMILIES if "stdlib." + name in sys.modules]
print(json.dumps([families, [name for name in ("re2", "psutil", "cryptography.x509") if name in sys.modules]]))
"""
    assert fresh(program) == [[], []]


def test_a_module_that_fails_is_told_and_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    source = tmp_path / "made_calls.py"
    declaration = '''
from stdlib.declaring import call
from protocol.tiers import Tier

@call("made.one", tier=Tier.OBSERVE)
async def one() -> int:
    """Return one."""
    return 1
'''
    row = {"name": "made.one", "parameters": [], "local": False, "maps": [], "method": False, "module": "made_calls"}
    calls = index.Index([row])
    try:
        source.write_text(declaration + "raise OSError('the disk is gone')\n")
        for _ in range(2):  # the second attempt fails like the first, not over what the first has left
            with pytest.raises(InternalError, match=r"made\.one cannot be loaded") as caught:
                calls.find("made.one")
            assert "the disk is gone" in repr(caught.value.__cause__)
        source.write_text(declaration + f"# {'x' * 100}\n")
        found = calls.find("made.one")
        assert found is not None
        assert found.name == "made.one"
    finally:
        call_specs.withdraw("made_calls")


def test_an_index_that_names_the_wrong_module_is_told() -> None:
    row = {"name": "made.two", "parameters": [], "local": False, "maps": [], "method": False, "module": "stdlib.time"}
    with pytest.raises(InternalError, match="does not declare"):
        index.Index([row]).find("made.two")


@pytest.mark.parametrize("text", ["", "{", "[1]", '[{"name": "x"}]', '{"a": 1}'])
def test_a_broken_file_is_told(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "calls.json"
    path.write_text(text)
    monkeypatch.setattr(index, "FILE", SimpleNamespace(read_bytes=path.read_bytes))
    with pytest.raises(InternalError, match="no index"):
        index.load()


def test_a_file_that_is_not_there_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "FILE", tmp_path / "none.json")
    with pytest.raises(InternalError, match="no index"):
        index.load()
