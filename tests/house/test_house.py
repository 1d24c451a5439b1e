"""House rules that a linter does not know."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("kernel", "protocol", "policies", "sandbox", "stdlib", "agent", "server", "cli")
FENCED = ("kernel", "protocol", "policies", "sandbox", "stdlib")


def product_files() -> list[Path]:
    return sorted(path for package in PRODUCT for path in (ROOT / package).rglob("*.py"))


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [ROOT / name.decode() for name in listed.split(b"\0") if name]


def test_nothing_depends_on_assert() -> None:
    """``python -O`` removes asserts; a check that can be switched off is no check."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in product_files()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assert)
    ]
    assert not found, f"assert in product code: {found}"


@pytest.mark.parametrize("path", product_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_is_for(path: Path) -> None:
    """A module docstring gives the rules that the module keeps."""
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), f"{path.relative_to(ROOT)} has no docstring"


def test_no_file_is_called_after_nothing() -> None:
    """A file called utils is a thing without a name yet."""
    bad = re.compile(r"(^|_)(utils?|helpers?|misc|common|stuff)\.py$")
    assert not [str(path) for path in product_files() if bad.search(path.name)]


def test_every_exemption_has_its_reason_beside_it() -> None:
    """A lint or typing exemption without a reason cannot be reviewed."""
    marker = re.compile(r"#\s*(noqa|type:\s*ignore)(?P<rest>.*)$")
    found = []
    for path in tracked_files():
        if path.suffix != ".py":
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            match = marker.search(line)
            if match and not re.search(r"(#|—|--| - )\s*\w+", match["rest"]):
                found.append(f"{path.relative_to(ROOT)}:{number}")
    assert not found, f"exemptions without a reason: {found}"


def test_nothing_sleeps_in_tests() -> None:
    """A test that sleeps is slow where it passes and flaky where it does not: wait for the event instead."""
    found = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "sleep"):
                continue
            yields_only = bool(node.args) and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0
            if not yields_only:
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not found, f"sleeps in tests: {found}"


def test_locks_name_no_registry_host() -> None:
    """Any mirror serves: the hashes say what is right, not the host."""
    for path in (ROOT / "requirements").glob("*.lock"):
        assert "://" not in path.read_text(encoding="utf-8"), path.name


def test_agent_lock_holds_only_what_the_agent_declares() -> None:
    """The agent installs without server libraries."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    server = {re.split(r"[<>=;\[ ]", item)[0].lower() for item in project["optional-dependencies"]["server"]}
    locked = {
        line.split("==")[0].strip().lower()
        for line in (ROOT / "requirements" / "agent.lock").read_text(encoding="utf-8").splitlines()
        if "==" in line and not line.startswith(" ")
    }
    assert locked, "the agent's lock is empty"
    assert not locked & server


def test_every_declared_dependency_is_locked() -> None:
    """A dependency added without running tools/lock would fail only on a fresh machine."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    declared = project["dependencies"] + extras["cli"] + extras["server"] + extras["dev"]
    locked = (ROOT / "requirements" / "dev.lock").read_text(encoding="utf-8").lower()
    missing = []
    for item in declared:
        name = re.split(r"[<>=;\[ ]", item)[0].lower()
        if name != "outrider" and f"\n{name}==" not in f"\n{locked}":
            missing.append(name)
    assert not missing, f"run tools/lock: {missing}"


def test_repository_holds_no_path_of_a_machine() -> None:
    """What works only where it was written does not work."""
    own = re.compile(rb"(?<![\w.])/(work|farm)/(main|shared|scratch)|/root/\.pyenv")
    found = []
    for path in tracked_files():
        if path.name != "test_house.py" and path.is_file() and own.search(path.read_bytes()):
            found.append(str(path.relative_to(ROOT)))
    assert not found, found


def test_no_two_test_modules_have_one_name() -> None:
    """Modules outside packages are known by their name alone; pytest collects neither of two with one name."""
    names = Counter(
        path.name
        for path in tracked_files()
        if path.parts[len(ROOT.parts)] == "tests" and path.name.startswith("test_")
    )
    assert [name for name, count in names.items() if count > 1] == []
