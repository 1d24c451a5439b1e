"""What arrived of bundles: kept for the next attempt, bounded, and let go when it is taken."""

from __future__ import annotations

from agent.partials import MAX_BYTES, MAX_PARTIALS, Partials


def test_a_beginning_is_taken_once() -> None:
    partials = Partials()
    partials.keep("a", b"one")
    assert (partials.take("a"), partials.take("a")) == (b"one", b"")


def test_nothing_is_not_kept() -> None:
    partials = Partials()
    partials.keep("a", b"one")
    partials.keep("a", b"")
    assert partials.take("a") == b"one"


def test_the_newest_few_are_kept() -> None:
    partials = Partials()
    for number in range(MAX_PARTIALS + 1):
        partials.keep(str(number), b"x")
    assert [partials.take(str(number)) for number in range(MAX_PARTIALS + 1)] == [b"", *[b"x"] * MAX_PARTIALS]


def test_all_of_them_together_are_bounded() -> None:
    partials = Partials()
    half = bytes(MAX_BYTES // 2)
    for name in ("a", "b", "c"):
        partials.keep(name, half)
    assert [len(partials.take(name)) for name in ("a", "b", "c")] == [0, len(half), len(half)]
