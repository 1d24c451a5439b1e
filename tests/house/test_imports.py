"""Every name that a test imports from our packages is there.

A test file that cannot be imported stops the whole suite before its first test, and nobody sees it who runs some of it.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = {"agent", "bench", "cli", "kernel", "policies", "protocol", "sandbox", "scripts", "server", "stdlib"}


def names(tree: ast.AST) -> Iterator[tuple[int, str, str]]:
    """Yield line, module and name of each import from one of our packages."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and not node.level and node.module:
            if node.module.split(".")[0] in OURS:
                yield from ((node.lineno, node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, "") for alias in node.names if alias.name.split(".")[0] in OURS)


def is_there(module: str, name: str) -> bool:
    """Tell whether the module has the name, or is a package that has a module of that name."""
    try:
        found = import_module(module)
    except ImportError:
        return False
    return (
        not name or hasattr(found, name) or (hasattr(found, "__path__") and find_spec(f"{module}.{name}") is not None)
    )


def missing(path: Path, text: str) -> list[str]:
    """Return the imports of one file that lead nowhere, with their places."""
    return [
        f"{path}:{line} imports {name or module} from {module}"
        for line, module, name in names(ast.parse(text))
        if not is_there(module, name)
    ]


@pytest.mark.parametrize("folder", sorted(path.name for path in (ROOT / "tests").iterdir() if path.is_dir()))
def test_what_tests_import_is_there(folder: str) -> None:
    """Said with file and line, for all of them at once."""
    wrong = [
        told
        for path in sorted((ROOT / "tests" / folder).rglob("*.py"))
        for told in missing(path.relative_to(ROOT), path.read_text(encoding="utf-8"))
    ]
    assert not wrong, "\n".join(wrong)


def test_a_name_that_has_moved_is_seen() -> None:
    """So that this test can fail."""
    assert missing(Path("t.py"), "from protocol.frames import nowhere\nimport protocol.nowhere\n") == [
        "t.py:1 imports nowhere from protocol.frames",
        "t.py:2 imports protocol.nowhere from protocol.nowhere",
    ]
    assert missing(Path("t.py"), "from protocol import frames\nfrom protocol.frames import decode\n") == []
