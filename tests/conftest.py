"""What every test gets: one event loop per test, and no leaked child processes or descriptors."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import visiting
from hypothesis import HealthCheck, settings

from kernel.visits import VISITS

# A machine that is busy is no fault of the code: what takes too long is found by the limit of the whole test. The same
# examples each time: a change is judged by what it does, and new ones are looked for by ``make shake``.
settings.register_profile(
    "outrider", deadline=None, derandomize="SHAKE" not in os.environ, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("outrider")


def pytest_configure() -> None:
    """Have SIGINT do what it does by default, in this process and in all that tests start.

    A shell without job control, such as that of a script, starts what is to run in the background with SIGINT ignored
    (POSIX.1-2017, XCU 2.11). That is inherited over exec, and Python then installs no handler of its own (signal(3p)):
    what tests send SIGINT to would not end.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_logfinish(nodeid: str) -> None:
    """Note which test leaves a thread busy, which others will wait for."""
    visiting.note(nodeid)


def _open_descriptors() -> dict[int, str]:
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            leads_to = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the descriptor of the listing itself is gone by now
            continue
        found[int(name)] = leads_to
    if (
        VISITS._bell is not None
    ):  # it comes with the first visit of a loop to a thread, and stays until there is another
        found.pop(VISITS._bell._fd, None)
    return found


def _children() -> set[int]:
    own = os.getpid()
    children: set[int] = set()
    for task in Path(f"/proc/{own}/task").iterdir():
        try:
            children |= {int(pid) for pid in (task / "children").read_text().split()}
        except OSError:  # a thread that ended meanwhile has no children
            continue
    return children


@pytest.fixture(autouse=True)
def no_leaked_children() -> Iterator[None]:
    """A test that leaves a process behind fails itself, not a later one."""
    before = _children()
    yield
    left = _children() - before
    told = []
    for pid in left:
        try:
            told.append(f"{pid}: {Path(f'/proc/{pid}/cmdline').read_bytes().replace(bytes(1), b' ').decode()[:200]}")
        except OSError:  # it ended between the two looks, which is what we want
            continue
    assert not told, f"left running: {told}"


@pytest.fixture
def descriptors_kept() -> Iterator[None]:
    """For tests of code that owns descriptors: as many open after as before."""
    before = _open_descriptors()
    yield
    after = _open_descriptors()
    leaked = {fd: name for fd, name in after.items() if before.get(fd) != name}
    assert len(after) <= len(before), f"leaked descriptors: {leaked}"
