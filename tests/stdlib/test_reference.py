"""The written reference: current, and every example in it really runs."""

from __future__ import annotations

import ast
import os
import re
import shutil
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest
from exemplary import ON_MADE_HOST, OnePerson, exemplary
from running import COMMANDS, run

from protocol.tiers import Tier
from sandbox.launch import Sandbox
from stdlib import reference
from stdlib.catalogue import load
from stdlib.stub_lua import lua_stub
from stdlib.stub_python import python_stub
from stdlib.wording import COMMAND, kinds, signature

LANGUAGES = ("lua", "python")

#: What an example names and a machine may lack: whether it is here, and the code that says that it is not.
MAY_BE_ABSENT = {
    "net.unix": (os.path.exists("/run/mysqld/mysqld.sock"), "not_found"),
    "proc.command": (os.access(COMMANDS["df"][0], os.X_OK), "unavailable"),
}

OF_THE_NETWORK = ("connection", "datagrams", "listener", "tunnel")  # handles that no example can get here


def test_what_is_checked_in_is_what_the_declarations_say() -> None:
    assert reference.stale() == [], f"run {COMMAND}"


def test_stale_files_are_named_and_written_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reference.stale(tmp_path) == list(reference.FILES)
    assert reference.main(["--check"], tmp_path) == 1
    assert capsys.readouterr().err.count("is stale") == len(reference.FILES)
    assert reference.main([], tmp_path) == 0
    assert reference.main(["--check"], tmp_path) == 0


def test_every_table_row_has_its_three_cells() -> None:
    rows = [line for line in reference.page().splitlines() if line.startswith("|")]
    assert len(rows) > 40
    for row in rows:
        assert len(re.findall(r"(?<!\\)\|", row)) == 4, row


def test_page_names_every_call_and_parameter_and_nothing_of_python_only() -> None:
    page = reference.page()
    for spec in load():
        assert f"### `{signature(spec)}`" in page
        for item in spec.parameters:
            assert f"| `{item.name}` | " in page
    for word in ("dict[", "list[", "`None` |", "`True`", "`False`", "Any"):
        assert word not in page, word


def test_stub_for_python_compiles_and_has_every_call() -> None:
    tree = ast.parse(python_stub(), feature_version=(3, 11))
    found = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{item.name}" for item in node.body if isinstance(item, ast.FunctionDef)}
    everywhere = {"Stream.__next__", "Stream.close", "Stream.summary", *(f"{kind}.close" for kind in kinds())}
    assert found == set(load().names()) | everywhere


async def test_stub_for_lua_is_lua_and_has_every_call(sandbox: Sandbox) -> None:
    """It defines the calls anew, so it is only loaded, as a function that nobody calls."""
    stub = lua_stub()
    by_family = [spec.name for spec in sorted(load(), key=lambda spec: (spec.family, spec.name))]
    outcome = await run(sandbox, "lua", f"local function all()\n{stub}\nend\nreturn type(all)", Tier.COMPUTE)
    assert (outcome.status, outcome.result) == ("ok", "function"), outcome.reason
    assert re.findall(r"^function ([a-z_.0-9]+)\(", stub, re.MULTILINE) == by_family


@pytest.mark.parametrize("language", LANGUAGES)
async def test_every_example_runs_at_the_tier_of_its_call(sandbox: Sandbox, language: str, tmp_path: Path) -> None:
    """A machine without such a disk or program must say so; each other example must end well, on every machine."""
    exemplar = replace(exemplary(tmp_path).host, commands=COMMANDS, people=OnePerson())
    for spec in load():
        host = exemplar if spec.name in ON_MADE_HOST else None
        assert host or not (spec.changes and spec.family == "sys"), f"{spec.name} would change this very machine"
        clean_up(spec.examples[language])
        tier = max(spec.tier, found.tier) if (found := load().find(spec.under or "")) else spec.tier  # of the handle
        outcome = await run(sandbox, language, spec.examples[language], tier, {"device": "sda"}, host=host)
        clean_up(spec.examples[language])
        is_here, code = MAY_BE_ABSENT.get(spec.name, (True, ""))
        reaches = spec.has_target or any(item.handle in OF_THE_NETWORK for item in spec.parameters)
        if reaches:  # nothing declares it here: what matters is that it comes as far as the decision
            is_here, code = False, "denied"
        if not is_here:
            caught = await run(sandbox, language, _catching(language, spec.examples[language]), spec.tier)
            assert caught.result == code, f"{spec.name}: {outcome.reason}"
            continue
        assert outcome.status == "ok", f"{spec.name}: {outcome.reason}"
        made = [call.call for call in outcome.calls]
        assert spec.is_local or spec.name in made, "an example shows its own call"


def clean_up(example: str) -> None:
    """Remove what an example made, or will make."""
    for name in re.findall(r'"(/tmp/[a-z]+)', example):
        path = Path(name)
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _catching(language: str, example: str) -> str:
    if language == "lua":
        return f"local ok, failure = pcall(function() {example} end)\nreturn failure.code"
    body = textwrap.indent(example, "    ")
    return f"result = None\ntry:\n{body}\nexcept HostError as failure:\n    result = failure.code"


@pytest.mark.parametrize("language", LANGUAGES)
async def test_the_way_to_catch_an_error_works(sandbox: Sandbox, language: str) -> None:
    outcome = await run(sandbox, language, reference.CATCHING[language], Tier.OBSERVE)
    assert outcome.status == "ok", outcome.reason
    assert outcome.output.startswith(b"not_found"), outcome.output
