"""Unified diffs are applied exactly or not at all."""

from __future__ import annotations

import contextlib
import re
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocol.errors import ArgumentError, ConflictError, OutriderError
from stdlib import patching

TEXTS = st.lists(
    st.sampled_from(["a\n", "b\n", "c\r\n", "\n", "x\x0cy\n", "\u2028\n", "- d\n", "@@\n"]), max_size=30
).map("".join)


@given(TEXTS, TEXTS, st.sampled_from(["", "end"]), st.sampled_from(["", "tail"]))
def test_what_is_made_can_be_applied(old: str, new: str, old_end: str, new_end: str) -> None:
    """Whatever the lines hold, and with or without a last line feed."""
    old, new = old + old_end, new + new_end
    diff = patching.make(old, new, "/x")
    if old == new:
        assert diff == ""
    else:
        assert patching.apply(old, diff) == new


@given(TEXTS, st.text(max_size=200))
def test_hostile_diffs_only_raise_errors_of_ours(text: str, diff: str) -> None:
    for each in (diff, f"@@ -1 +1 @@\n{diff}", f"--- a\n+++ b\n@@ -1,2 +1,2 @@\n {diff}\n-a\n"):
        with contextlib.suppress(OutriderError):
            patching.apply(text, each)


BITS = [
    "--- a\n", "+++ b\n", "diff x\n", "index 1\n", "@@ -1 +1 @@\n", "@@ -1,2 +1 @@ f\n", "@@ -0,0 +1 @@\n", " a\n",
    "-a\n", "+b\n", "\n", "\\ No newline at end of file\n", "x\n", "\r\n",
    "@@ -1 +1 @@", "+b", "\\ No newline at end of file", "@@\n",
]  # fmt: skip


@given(st.lists(st.sampled_from(BITS), max_size=9).map("".join))
@example("@@ -1 +1 @@\n-a\n+b\n@@ -0,0 +0,0 @@")
def test_what_reading_refuses_no_call_takes(diff: str) -> None:
    """Who reads a script has the pattern alone; it may take more than a call does, never less."""
    if patching.problem(diff) is None:
        assert re.fullmatch(patching.DIFF.pattern, diff), diff


@pytest.mark.parametrize(
    "diff",
    [
        "",
        "hello\n",
        "@@ -1 +1 @@\n*a\n",
        "--- a\n+++ b\n",
        "@@ -1,x +1 @@\n",
        "@@ -1 +1 @@\n-a\n+b\n--- a\nx\n",
        "\n@@ -1 +1 @@\n",
    ],
)
def test_what_reading_refuses(diff: str) -> None:
    assert not re.fullmatch(patching.DIFF.pattern, diff)
    assert patching.problem(diff)


def test_reading_a_hostile_diff_does_not_take_long() -> None:
    """Linear, whatever comes at its end."""
    for many in ("--- a\n", "@@ -1 +1 @@\n", " a\n", "\n", "@@ -1 +1 @@\n a\n"):
        assert not re.fullmatch(patching.DIFF.pattern, "@@ -1 +1 @@\n" + many * 100_000 + "x")


def test_a_hunk_may_have_moved() -> None:
    """Lines came before it since."""
    diff = patching.make("1\n2\n3\n", "1\ntwo\n3\n", "/x")
    assert patching.apply("0\n0\n1\n2\n3\n", diff) == "0\n0\n1\ntwo\n3\n"


@pytest.mark.parametrize(("text", "diff", "error", "words"), [
    ("a\n", "@@ -1 +1 @@\n-b\n+c\n", ConflictError, "line 1: the hunk does not fit"),
    ("z\nx\nx\n", "@@ -9 +9 @@\n-x\n+y\n", ConflictError, "fits at 2 places"),
    ("a\n", "", ArgumentError, "no hunk"),
    ("a\n", "hello\n", ArgumentError, "line 1: is neither"),
    ("a\n", "@@ -1,2 +1 @@\n-a\n", ArgumentError, "line 1: the hunk ends"),
    ("a\n", "@@ -1 +1 @@\n-a\n-a\n+b\n", ArgumentError, "line 3: the hunk has more"),
    ("a\n", "@@ -1 +1 @@\n*a\n", ArgumentError, "line 2: a line of a hunk"),
    ("a\n", "@@ -1 +1 @@\n-a\n+b\n--- a/other\n", ArgumentError, "line 4: is neither"),
])  # fmt: skip
def test_what_is_wrong_is_named(text: str, diff: str, error: type[OutriderError], words: str) -> None:
    with pytest.raises(error, match=words):
        patching.apply(text, diff)


def test_many_equal_lines_do_not_take_long() -> None:
    """The place of a hunk is searched for near by only."""
    text = "a\n" * 300_000
    diff = "@@ -1,2000 +1,2000 @@\n" + " a\n" * 1999 + "-b\n+c\n"
    with pytest.raises(ConflictError):
        patching.apply(text, diff)


@given(TEXTS, TEXTS, TEXTS, st.sampled_from(["", "end"]), st.sampled_from(["", "tail"]))
def test_where_a_diff_came_to_lie_is_told(before: str, old: str, new: str, old_end: str, new_end: str) -> None:
    """As whoever compares the two texts would tell it; what came before it moves it."""
    old, new = old + old_end, new + new_end
    diff = patching.make(old, new, "/x")
    if old == new:
        return
    assert patching.headed(patching.applied(old, diff).hunks, "/x") == diff
    with contextlib.suppress(ConflictError):  # it fits at several places now
        came_to = patching.applied(before + old, diff)
        assert patching.applied(before + old, came_to.hunks) == came_to


@given(st.lists(st.sampled_from(BITS), max_size=9).map("".join), TEXTS)
def test_what_a_hostile_diff_came_to_is_a_diff_of_the_same(diff: str, text: str) -> None:
    with contextlib.suppress(OutriderError):
        came_to = patching.applied(text, diff)
        assert patching.apply(text, came_to.hunks) == came_to.text


def test_a_diff_is_told_in_as_much_time_as_it_takes_to_read() -> None:
    """To look for it in the two texts took hours where each line is there a hundred times."""
    text = "".join(f"{number % 150}\n" for number in range(300_000))
    began_s = time.process_time()
    told = patching.applied(text, "@@ -1 +1 @@\n-0\n+x\n")
    assert told.hunks == "@@ -1 +1 @@\n-0\n+x\n"
    assert time.process_time() - began_s < 10
