"""What may wait for disks and other machines has threads of its own, never those that the event loop has for itself."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("kernel", "sandbox", "stdlib", "agent")
FILES = sorted(path.relative_to(ROOT) for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
#: A call of whoever embeds the sandbox: what that may wait for is theirs to know.
OTHERS = {Path("sandbox/embedding.py")}


def threads_of_the_loop(tree: ast.AST) -> list[int]:
    """Return the lines that give something to the executor of the loop: it has a handful of threads for all of us."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "to_thread":
            found.append(node.lineno)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "run_in_executor":
            first = node.args[0]
            if isinstance(first, ast.Constant) and first.value is None:
                found.append(node.lineno)
    return found


@pytest.mark.parametrize("path", [path for path in FILES if path not in OTHERS], ids=str)
def test_nothing_takes_a_thread_of_the_loop(path: Path) -> None:
    """docs/decisions/0034-threads-for-visits.md says why."""
    assert threads_of_the_loop(ast.parse((ROOT / path).read_text(encoding="utf-8"))) == []


def test_one_that_does_is_seen() -> None:
    lines = [
        "await asyncio.to_thread(f)", "loop.run_in_executor(None, f)", "loop.run_in_executor(pool, f)",
        "partial(asyncio.to_thread, f)",
    ]  # fmt: skip
    assert sorted(threads_of_the_loop(ast.parse("\n".join(lines)))) == [1, 2, 4]
