"""Workers of an agent that is root are nobody whom others on the host are as well."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.jail import identity
from sandbox.jail.builder import DEFAULT_ID, NOBODY, Identity
from sandbox.jail.identity import NUMBERS, unshared
from sandbox.jail.trial import Say, in_child
from sandbox.launch import Options, Sandbox


@pytest.fixture
def afresh() -> Iterator[None]:
    unshared.cache_clear()
    yield
    unshared.cache_clear()


@pytest.mark.usefixtures("afresh")
def test_it_is_one_that_nobody_has() -> None:
    found = unshared()
    assert found.uid == found.gid
    assert found.uid in NUMBERS
    assert found == unshared()
    with pytest.raises(KeyError):
        pwd.getpwuid(found.uid)


@pytest.mark.usefixtures("afresh")
def test_what_somebody_has_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A process, an account, a service of systemd's; and what a container cannot be."""
    monkeypatch.setattr(identity.random, "sample", lambda numbers, most: list(numbers)[:5])
    first = NUMBERS.start
    monkeypatch.setattr(identity, "_users_of_processes", lambda: iter([0, first]))
    monkeypatch.setattr(identity, "_LOCKS", str(tmp_path))
    (tmp_path / str(first + 1)).touch()

    def account(number: int) -> None:
        if number != first + 2:
            raise KeyError(number)

    monkeypatch.setattr(identity.pwd, "getpwuid", account)
    monkeypatch.setattr(identity, "_mapped", lambda _: iter([(0, first + 3), (first + 4, 1)]))
    assert unshared() == Identity(first + 4, first + 4)
    monkeypatch.setattr(identity, "_mapped", lambda _: iter([(0, 1)]))
    unshared.cache_clear()
    assert unshared() == NOBODY


def test_users_of_processes_are_seen() -> None:
    assert os.getuid() in set(identity._users_of_processes())


@pytest.mark.needs_root
@pytest.mark.parametrize(("options", "can_stop"), [(Options(), False), (Options(identity=NOBODY), True)])
async def test_whoever_is_nobody_cannot_stop_a_zygote(options: Options, can_stop: bool) -> None:
    """A service that was taken over and runs as nobody, say, could stop all scripts of the host, again and again."""
    sandbox = await Sandbox.start(bindings=[], options=options)
    try:
        zygote = sandbox.zygote_pid
        assert zygote is not None

        def stop(say: Say) -> None:
            os.setgroups([])
            os.setresuid(DEFAULT_ID, DEFAULT_ID, DEFAULT_ID)
            os.kill(zygote, 0)  # who may send this may send all of them
            say("stopped")

        assert (in_child(stop).told == ["stopped"]) is can_stop
    finally:
        await sandbox.close()
