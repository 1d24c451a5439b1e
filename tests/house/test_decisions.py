"""Decision records are numbered one after the other, and their headings say the number."""

from __future__ import annotations

from pathlib import Path

RECORDS = sorted((Path(__file__).resolve().parents[2] / "docs/decisions").glob("[0-9]*.md"))


def test_each_number_is_given_once() -> None:
    """Two that were written side by side get different ones."""
    assert [path.name[:4] for path in RECORDS] == [f"{number:04}" for number in range(1, len(RECORDS) + 1)]


def test_each_heading_says_its_number() -> None:
    """So that a reader who came by a link knows where they are."""
    wrong = [path.name for path in RECORDS if not path.read_text(encoding="utf-8").startswith(f"# {path.name[:4]}: ")]
    assert not wrong, wrong
