"""The difference of two versions' code, as a reviewer reads it."""

from __future__ import annotations

import difflib
import random
import time

import pytest

from protocol import code_parts as code


def reference(old: str, new: str) -> str:
    """The same by the standard library alone, which does not leave out what both have around the change."""
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="")
    return "".join(f"{line}\n" for line in list(lines)[2:])


@pytest.mark.parametrize("seed", range(40))
def test_it_is_the_difference_and_leads_from_one_to_the_other(seed: int) -> None:
    chance = random.Random(seed)
    old = [f"line {number}" for number in range(chance.randrange(60))]
    new = list(old)
    for _ in range(chance.randrange(1, 5)):
        place = chance.randrange(len(new) + 1)
        new[place : place + chance.randrange(3)] = [f"new {seed}"] * chance.randrange(3)
    before, after = ("".join(f"{line}\n" for line in lines) for lines in (old, new))
    found = code.unified(before, after)
    assert applied(old, found) == new
    assert len(found.splitlines()) <= len(reference(before, after).splitlines()) + 2


def applied(old: list[str], difference: str) -> list[str]:
    """Apply a unified difference."""
    new: list[str] = []
    place = 0
    for line in difference.splitlines():
        if line.startswith("@@"):
            start, _, count = line.split()[1][1:].partition(",")
            first = int(start) - (0 if count == "0" else 1)
            new += old[place:first]
            place = first
        elif line[0] == "+":
            new.append(line[1:])
        else:
            assert old[place] == line[1:]
            place += 1
            new += [line[1:]] if line[0] == " " else []
    return new + old[place:]


def test_a_change_is_shown_with_the_lines_around_it() -> None:
    old = "".join(f"{number}\n" for number in range(20))
    assert code.unified(old, old.replace("10\n", "x\n")) == "@@ -8,7 +8,7 @@\n 7\n 8\n 9\n-10\n+x\n 11\n 12\n 13\n"


def test_a_line_that_does_not_end_is_told() -> None:
    assert code.unified("a\n", "a") == "@@ -1 +1 @@\n-a\n+a (no end of line)\n"


def test_nothing_that_only_some_take_for_the_end_of_a_line_hides_what_follows() -> None:
    """Lua and Python end a line at LF; a reader that also ends one at U+2028 would show another program."""
    assert code.unified("", "a\u2028b\n") == "@@ -0,0 +1 @@\n+a\u2028b\n"


def test_files_come_whole_where_there_is_nothing_to_compare_with_and_else_by_their_difference() -> None:
    after = {"b": "x\n", "a": "y\n", "same": "s"}
    assert list(code.parts(None, {"b": "x\n", "a": ""})) == [
        {"path": "a", "change": "whole", "part": 1, "text": ""},
        {"path": "b", "change": "whole", "part": 1, "text": "x\n"},
    ]
    assert [(part["path"], part["change"]) for part in code.parts({"a": "", "c": "z", "same": "s"}, after)] == [
        ("a", "changed"), ("b", "added"), ("c", "removed"),
    ]  # fmt: skip


def test_a_long_text_comes_in_parts() -> None:
    text = "x" * (2 * code.PART_CHARACTERS + 1)
    found = list(code.parts(None, {"a": text}))
    assert [part["part"] for part in found] == [1, 2, 3]
    assert "".join(part["text"] for part in found) == text


def test_hostile_files_cost_little() -> None:
    """Few different lines in another order are the worst that there is for a matcher."""
    chance = random.Random(1)
    for lines in (990, 200_000):
        old, new = ("\n".join(str(chance.randrange(120)) for _ in range(lines)) for _ in range(2))
        started = time.process_time()
        assert code.unified(old, new)
        assert time.process_time() - started < 5.0


def test_many_files_at_their_worst_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each alone may be compared; what is over the bound of all is told as removed and added, which is true as well."""
    monkeypatch.setattr(code, "MAX_TOGETHER", 2 * 30 * 30)
    before = {f"f{number}": "".join(f"{line}\n" for line in range(30)) for number in range(4)}
    after = {path: "x\n" + text.replace("15\n", "") + "y\n" for path, text in before.items()}
    told = [part["text"].count("\n-") for part in code.parts(before, after)]
    assert told == [1, 30, 30, 30]
