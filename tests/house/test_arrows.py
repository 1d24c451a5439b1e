"""The import arrows of ARCHITECTURE.md, held by reading every import statement, also those inside functions.

Why anyone cares: the agent runs as root on every host. Each module it can reach is attack surface and memory there, and
a pure package that starts to reach for a socket can no longer be tested as a table of events.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: package -> what of ours it may import, and why nothing else. A dotted name allows that module only.
ARROWS: dict[str, tuple[set[str], str]] = {
    "kernel": (set(), "kernel is how the kernel is spoken to; it decides nothing and knows nobody"),
    "protocol": (set(), "protocol is the pure language of both sides; it knows nobody"),
    "policies": ({"protocol"}, "a verdict is a pure function of documents; it must not reach a host or a worker"),
    "sandbox": (
        {"kernel", "protocol", "policies"},
        "the sandbox gets its call table injected, so that it can be embedded and so that a worker never holds calls",
    ),
    "stdlib": (
        {"kernel", "protocol", "policies"},
        "implementations of calls must not know who calls them; the gate is their only caller",
    ),
    "agent": (
        {"kernel", "protocol", "policies", "sandbox", "stdlib", "scripts"},
        "the agent imports nothing of the server or the CLI: every module is attack surface and memory on each host",
    ),
    "server": (
        {"protocol", "policies", "stdlib.tables", "sandbox.analysis"},
        "the server must not be able to run a script or a call, only to read their tables",
    ),
    "cli": (
        {"protocol", "policies", "sandbox", "stdlib", "scripts"},
        "the CLI speaks to the server's HTTP API only, like any other client",
    ),
    "scripts": (set(), "bundled scripts are data"),
}

#: Libraries that the agent must never load: they belong to the server's or the CLI's extras.
NOT_IN_AGENT = {
    "fastapi", "starlette", "uvicorn", "pydantic", "sqlalchemy", "alembic", "pygit2", "structlog",
    "prometheus_client", "click", "rich", "httpx2", "jinja2",
}  # fmt: skip

#: What would make the pure packages impure.
NOT_IN_PURE = {"socket", "subprocess", "asyncio", "threading", "sqlite3", "requests", "httpx2", "psutil", "random"}


class Import(NamedTuple):
    """One import statement: where it stands and what it names."""

    place: str
    target: str


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path) -> Iterator[Import]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(place, alias.name)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                yield Import(place, "." * node.level)
            else:
                for alias in node.names:
                    yield Import(place, f"{node.module}.{alias.name}")


def may(target: str, package: str, allowed: set[str]) -> bool:
    top = target.split(".")[0]
    if top == package or top not in ARROWS:
        return True
    return any(target == name or target.startswith(f"{name}.") for name in allowed)


@pytest.mark.parametrize("package", sorted(ARROWS))
def test_package_imports_only_along_its_arrows(package: str) -> None:
    """An import that turns an arrow round is a design question, not a detail."""
    allowed, reason = ARROWS[package]
    files = sources(package)
    assert files, f"{package}/ holds no module: has the layout changed?"
    wrong = [found for path in files for found in imports(path) if not may(found.target, package, allowed)]
    told = "\n".join(f"  {found.place} imports {found.target}" for found in wrong)
    assert not wrong, f"{package} may import only {sorted(allowed) or 'nothing of ours'}: {reason}.\n{told}"


@pytest.mark.parametrize("package", sorted(ARROWS))
def test_no_relative_imports(package: str) -> None:
    """A full name says in every file which package it reaches into."""
    wrong = [found.place for path in sources(package) for found in imports(path) if found.target.startswith(".")]
    assert not wrong, f"relative imports: {wrong}"


@pytest.mark.parametrize("package", ["kernel", "protocol", "policies", "sandbox", "stdlib", "agent"])
def test_what_the_agent_loads_uses_no_server_library(package: str) -> None:
    """The agent installs without the server's extras, so an import of one would also simply fail on a host."""
    wrong = [
        f"{found.place} imports {found.target}"
        for path in sources(package)
        for found in imports(path)
        if found.target.split(".")[0] in NOT_IN_AGENT
    ]
    assert not wrong, wrong


@pytest.mark.parametrize("package", ["protocol", "policies"])
def test_pure_packages_hold_no_input_or_output(package: str) -> None:
    """Rules and I/O live in different files; these two packages hold only rules."""
    wrong = [
        f"{found.place} imports {found.target}"
        for path in sources(package)
        for found in imports(path)
        if found.target.split(".")[0] in NOT_IN_PURE
    ]
    assert not wrong, wrong


def test_a_turned_arrow_is_seen() -> None:
    """The test itself must be able to fail."""
    assert not may("server.app", "agent", ARROWS["agent"][0])
    assert not may("stdlib.fs", "server", ARROWS["server"][0])
    assert may("stdlib.tables.load", "server", ARROWS["server"][0])
    assert not may("stdlib.tables_of_other", "server", ARROWS["server"][0])
