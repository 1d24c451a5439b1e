"""docs/trust.md and this folder say the same: each attack that is told has a test, and each test is told."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).resolve().parent
TABLE = HERE.parents[1] / "docs" / "trust.md"
#: Where who is attacked is no host: the server by a client, people by the server. Only what the table names is meant.
ELSEWHERE = tuple(
    HERE.parent / name
    for name in (
        "server/test_push.py",
        "server/test_clock_set_back.py",
        "server/test_handing_out.py",
        "cli/test_proving.py",
    )
)


def told() -> set[str]:
    section = TABLE.read_text(encoding="utf-8").split("## The attacks")[1].split("\n## ")[0]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| ")][1:]
    assert rows, "the table has rows"
    assert all(re.findall(r"`(test_\w+)`", row[3]) for row in rows), "each row names a test"
    return {name for row in rows for name in re.findall(r"`(test_\w+)`", row[3])}


def defined_in(path: Path) -> set[str]:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    defined = {node.name for node in body if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef)}
    return {name for name in defined if name.startswith("test_")}


def test_every_attack_of_the_table_has_its_tests_and_every_test_its_row() -> None:
    files = {path.stem: defined_in(path) for path in HERE.glob("test_attack_*.py") if path.stem != Path(__file__).stem}
    names = told()
    elsewhere = {name for path in ELSEWHERE for name in defined_in(path)}
    assert names <= set(files) | elsewhere.union(*files.values())
    assert all(names & defined_in(path) for path in ELSEWHERE), "it is told of"
    missing = {test for stem, tests in files.items() if stem not in names for test in tests - names}
    assert not missing
