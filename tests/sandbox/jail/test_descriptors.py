"""What is open in a worker."""

from __future__ import annotations

import os

import pytest
from arena import attack, only

import kernel
from sandbox.jail import descriptors
from sandbox.jail.trial import in_child


async def test_a_worker_has_null_and_its_channel_and_nothing_else() -> None:
    """Also without any wall: the control socket, other workers' pidfds and the log are closed to it."""
    assert (await attack(only(), "visible_descriptors")).result["value"] == [0, 1, 2, 3]


def test_what_was_open_is_closed() -> None:
    """Whatever its number."""

    def close(say: object) -> None:
        null = os.open(os.devnull, os.O_RDWR)
        kept = os.dup2(os.pipe()[1], 100)
        high = os.dup2(null, 200)
        before = [number for number in (100, high) if os.path.exists(f"/proc/self/fd/{number}")]
        kernel.make(descriptors.calls(kept, null))
        found = [number for number in range(4, 300) if os.path.exists(f"/proc/self/fd/{number}")]
        os._exit(8 if before and not found else 9)

    assert in_child(close).status == 8


def test_a_kernel_that_closes_no_range_closes_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before Linux 5.9; the ruleset of landlock, on 4, is closed by its own wall."""
    monkeypatch.setattr(descriptors, "has_close_range", lambda: False)

    def close(say: object) -> None:
        null = os.open(os.devnull, os.O_RDWR)
        kept = os.dup2(os.pipe()[1], 100)
        os.dup2(null, 200)
        kernel.make(descriptors.calls(kept, null))
        descriptors.close_others()
        found = [number for number in range(5, 300) if os.path.exists(f"/proc/self/fd/{number}")]
        os._exit(8 if not found else 9)

    assert in_child(close).status == 8


@pytest.mark.parametrize(
    ("channel", "null", "ruleset"),
    [(2, 10, None), (10, 3, None), (0, 10, None), (10, 4, 11), (10, 11, 4), (2, 10, 11)],
)
def test_a_copy_never_overwrites_what_is_still_needed(channel: int, null: int, ruleset: int | None) -> None:
    """A mistake in numbers must not end in a worker without a channel, or with somebody else's."""
    with pytest.raises(OSError, match="above"):
        descriptors.calls(channel, null, ruleset)
