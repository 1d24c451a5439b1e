"""docs/security.md promises nothing without a test: each one that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "security.md"
_TEST = re.compile(r"^ *(?:async )?def (test_\w+)\(", re.MULTILINE)


def test_each_promise_of_the_sessions_names_tests_that_are_there() -> None:
    section = PAGE.read_text(encoding="utf-8").split("## Sessions of people")[1].split("\n## ")[0]
    rows = [line.split("|") for line in section.splitlines() if line.startswith("| ")][1:]
    named = [re.findall(r"`(test_\w+)`", row[4]) for row in rows]
    assert rows
    assert all(named), "each row names a test"
    known = {name for path in (ROOT / "tests").rglob("test_*.py") for name in _TEST.findall(path.read_text("utf-8"))}
    assert {name for each in named for name in each} <= known
