"""What a host trusts, over restarts: rosters go forward only, withdrawals only grow, the ceiling is as it stands."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from premises import Premises, approved, script
from world import DIGEST, NOW, OTHER_DIGEST, World

from agent import trusting, withdrawn
from agent.config import AgentConfig
from agent.files import read_bounded
from agent.other_names import OtherNames
from agent.trusting import Freeze, Trust, check_not_frozen
from policies.ceiling import DEFAULT, Ceiling
from policies.decide import Effective, decide_effective
from policies.model import Facts
from protocol.errors import DeniedError, DocumentError, OutriderError, TooLargeError, TrustError, UnavailableError
from protocol.limits import MAX_ENVELOPE_BYTES
from protocol.signing import Envelope, sign
from protocol.tiers import Tier
from protocol.timestamps import stamp


def signed(world: World, version: int = 1, *signers: str, **changes: Any) -> Envelope:
    keys = [world.key(name) for name in signers or ("root",)]
    return sign("roster", world.roster_body(version, **changes), *keys)


def again(premises: Premises) -> Trust:
    """Return the trust of a new process on the same disk."""
    return Trust(premises.state, premises.config, premises.now())


def reason(action: Callable[[], object]) -> str:
    with pytest.raises(TrustError) as caught:
        action()
    return caught.value.reason


# the roster ----------------------------------------------------------------------------------------------------------


def test_a_roster_is_kept_over_a_restart(premises: Premises) -> None:
    premises.take_roster(3)
    trust = again(premises)
    assert trust.roster_version == 3
    assert trust.roster().name_of(premises.world.key("ann").public.key_id) == "ann"


def test_without_a_roster_nothing_is_proved(premises: Premises) -> None:
    assert premises.trust.roster_version == 0
    assert reason(premises.trust.roster) == "unsigned"


REFUSED: list[tuple[str, Callable[[World], Envelope]]] = [
    ("rollback", lambda w: signed(w, 4)),
    ("mix_and_match", lambda w: signed(w, 5, keys=[])),
    ("expired", lambda w: signed(w, 6, expires=stamp(NOW))),
    ("unknown_key", lambda w: signed(w, 6, "mallory")),
    ("unknown_key", lambda w: signed(w, 6, roots={"threshold": 1, "keys": [w.key("mallory").public.to_text()]})),
    ("unsigned", lambda w: Envelope(signed(w, 6).payload_type, signed(w, 6).payload, ())),
    ("wrong_type", lambda w: w.publication("root")),
]


@pytest.mark.parametrize(("why", "envelope"), REFUSED)
def test_a_roster_that_does_not_follow_changes_nothing(
    premises: Premises, why: str, envelope: Callable[[World], Envelope]
) -> None:
    """Neither now nor after a restart: the disk keeps what was proved."""
    premises.take_roster(5)
    before = premises.state.roster.read_bytes()
    assert reason(lambda: premises.trust.set_roster(envelope(premises.world), NOW)) == why
    assert premises.trust.roster_version == 5
    assert premises.state.roster.read_bytes() == before
    assert again(premises).roster_version == 5


def test_a_restart_does_not_forget_which_version_was_seen(premises: Premises) -> None:
    premises.take_roster(5)
    trust = again(premises)
    assert reason(lambda: trust.set_roster(signed(premises.world, 4), NOW)) == "rollback"


def test_an_expired_roster_on_the_disk_still_guards_against_a_rollback(premises: Premises) -> None:
    """A host that was off for months starts, trusts nothing old, and takes only what is newer."""
    premises.take_roster(5)
    premises.clock.set(NOW + timedelta(days=60))
    trust = again(premises)
    assert trust.roster_version == 5
    later = {"issued": stamp(premises.now()), "expires": stamp(premises.now() + timedelta(days=1))}
    assert reason(lambda: trust.set_roster(signed(premises.world, 4, **later), premises.now())) == "rollback"
    trust.set_roster(signed(premises.world, 6, **later), premises.now())
    assert trust.roster_version == 6


def test_new_roots_are_proved_by_old_and_new(premises: Premises) -> None:
    roots = {"threshold": 1, "keys": [premises.world.key("root2").public.to_text()]}
    premises.trust.set_roster(signed(premises.world, 2, "root", "root2", roots=roots), NOW)
    trust = again(premises)
    assert trust.roster_version == 2
    assert reason(lambda: trust.set_roster(signed(premises.world, 3), NOW)) == "unknown_key", "the old root is out"


def test_the_same_roster_again_changes_nothing(premises: Premises) -> None:
    """A server sends it with every connection; the disk need not be written for it."""
    envelope = signed(premises.world)
    premises.trust.set_roster(envelope, NOW)
    premises.state.roster.unlink()
    premises.trust.set_roster(envelope, NOW)
    assert not premises.state.roster.exists()


def test_a_roster_that_the_disk_refuses_is_not_trusted(premises: Premises, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a restart would go back to the one before."""
    premises.take_roster(1)

    def refuse(*_: Any, **__: Any) -> None:
        raise UnavailableError("disk full")

    with monkeypatch.context() as disk:
        disk.setattr(trusting, "write_durably", refuse)
        with pytest.raises(UnavailableError):
            premises.take_roster(2)
    assert premises.trust.roster_version == 1
    premises.take_roster(2)
    assert again(premises).roster_version == 2


def test_a_host_that_pinned_no_roots_takes_no_roster(premises: Premises) -> None:
    """Otherwise the first server to speak would choose whom the host trusts."""
    config = premises.config
    premises.config = AgentConfig(config.server, config.server_key, config.agent_id, None, (), 0)
    trust = again(premises)
    assert reason(lambda: trust.set_roster(signed(premises.world), NOW)) == "unknown_key"
    assert reason(trust.roster) == "unsigned"


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"payloadType": 1}', b"null"])
def test_a_damaged_roster_on_the_disk_is_named(premises: Premises, content: bytes) -> None:
    """Going on without it would forget the version that was seen."""
    premises.take_roster()
    premises.state.roster.write_bytes(content)
    with pytest.raises(OutriderError, match=r"roster\.json"):
        again(premises)


def test_a_changed_roster_on_the_disk_is_refused(premises: Premises) -> None:
    premises.take_roster()
    text = Envelope.from_json(premises.state.roster.read_bytes())
    forged = Envelope(text.payload_type, text.payload.replace(b'"ann"', b'"eva"'), text.signatures)
    premises.state.roster.write_text(forged.to_json())
    assert reason(lambda: again(premises)) == "bad_signature"


def test_a_roster_that_others_may_write_is_refused(premises: Premises) -> None:
    premises.take_roster()
    premises.state.roster.chmod(0o666)
    with pytest.raises(UnavailableError, match="roster"):
        again(premises)


def test_the_largest_roster_is_still_there_after_a_restart(premises: Premises) -> None:
    """What a host can take it must be able to read again, or it would never start any more."""
    members = [premises.world.member(name) for name in ("ann", "bob")]
    room = MAX_ENVELOPE_BYTES // 4 * 3 - 6  # bytes of a payload whose base64 is just within the bound
    members[0]["name"] = "a" * (room - len(signed(premises.world, keys=members).payload))
    envelope = signed(premises.world, 2, keys=members)
    Envelope.from_json(envelope.to_plain())  # as the link hands it over
    premises.trust.set_roster(envelope, NOW)
    assert again(premises).roster_version == 2


# withdrawals ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def trusted(premises: Premises) -> Premises:
    premises.take_roster()
    return premises


def is_withdrawn(premises: Premises, trust: Trust | None = None) -> bool:
    entry = approved(premises.world, script())
    try:
        (trust or premises.trust).authorise(entry.bundle.digest, entry, NOW)
    except TrustError as error:
        return error.reason == "withdrawn"
    return False


def withdrawal(world: World, *signers: str, **changes: Any) -> Envelope:
    return world.withdrawal(*signers, **({"digest": script().digest} | changes))


def test_a_withdrawal_holds_over_a_restart(trusted: Premises) -> None:
    assert not is_withdrawn(trusted)
    trusted.trust.add_withdrawals([withdrawal(trusted.world)], NOW)
    assert is_withdrawn(trusted)
    assert is_withdrawn(trusted, again(trusted))


def test_a_server_that_forgets_a_withdrawal_does_not_lift_it(trusted: Premises) -> None:
    trusted.trust.add_withdrawals([withdrawal(trusted.world)], NOW)
    trusted.trust.add_withdrawals([], NOW)
    trusted.trust.add_withdrawals([withdrawal(trusted.world, digest=OTHER_DIGEST)], NOW)
    assert is_withdrawn(trusted)
    assert is_withdrawn(trusted, again(trusted))


def test_a_withdrawal_that_cannot_be_kept_holds_all_the_same(trusted: Premises) -> None:
    """Records may find room on a disk that has none for another file; then the script would still run."""
    in_the_way = trusted.state.path / ".withdrawals.json.new"
    in_the_way.mkdir()
    with pytest.raises(UnavailableError, match="cannot be written"):
        trusted.trust.add_withdrawals([withdrawal(trusted.world)], NOW)
    assert is_withdrawn(trusted)
    assert not is_withdrawn(trusted, again(trusted)), "which the server was told"
    in_the_way.rmdir()
    trusted.trust.add_withdrawals([withdrawal(trusted.world)], NOW)
    assert is_withdrawn(trusted, again(trusted))


def test_a_withdrawal_that_proves_nothing_is_not_kept(trusted: Premises) -> None:
    """And does not keep the others of the same list away."""
    for signer in ("mallory", "oli", "dan"):
        trusted.trust.add_withdrawals([withdrawal(trusted.world, signer)], NOW)
    assert not is_withdrawn(trusted)
    assert not trusted.state.withdrawals.exists()
    trusted.trust.add_withdrawals([withdrawal(trusted.world, "mallory"), withdrawal(trusted.world, "bob")], NOW)
    assert is_withdrawn(trusted)


def test_the_same_digest_under_another_name_is_not_withdrawn(trusted: Premises) -> None:
    trusted.trust.add_withdrawals([withdrawal(trusted.world, "dan", name="checksums/disk")], NOW)
    assert not is_withdrawn(trusted)


def test_without_a_roster_no_withdrawal_can_be_proved(premises: Premises) -> None:
    """The server must hear it, or it would believe that this host knows."""
    assert reason(lambda: premises.trust.add_withdrawals([withdrawal(premises.world)], NOW)) == "unsigned"
    premises.trust.add_withdrawals([], NOW)


@pytest.mark.parametrize("content", [b"", b"{}x", b"[7]", b'[{"payloadType": "x"}]', b"7", b"\xff", b"[" * 100_000])
def test_damaged_withdrawals_stop_the_start(trusted: Premises, content: bytes) -> None:
    """Going on without them would lift what was withdrawn."""
    trusted.state.withdrawals.write_bytes(content)
    trusted.state.withdrawals.chmod(0o600)
    with pytest.raises(UnavailableError, match=r"withdrawals\.json"):
        again(trusted)


def test_more_withdrawals_than_a_host_keeps(trusted: Premises, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(withdrawn, "MAX_KEPT", 1)
    trusted.trust.add_withdrawals([withdrawal(trusted.world)], NOW)
    with pytest.raises(TooLargeError):
        trusted.trust.add_withdrawals([withdrawal(trusted.world, digest=DIGEST)], NOW)
    assert is_withdrawn(trusted, again(trusted))


def test_what_could_not_be_read_again_is_not_written(trusted: Premises, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of withdrawals over its bound would keep the agent from ever starting again."""
    monkeypatch.setattr(withdrawn, "MAX_BYTES", 1500)
    trusted.trust.add_withdrawals([withdrawal(trusted.world)], NOW)
    with pytest.raises(TooLargeError):
        trusted.trust.add_withdrawals([withdrawal(trusted.world, digest=DIGEST, reason="x" * 1500)], NOW)
    assert is_withdrawn(trusted, again(trusted))


def test_the_files_are_held_against_the_digest_each_time(trusted: Premises) -> None:
    """Wherever they come from: what was signed is the digest, what runs are the files."""
    entry = approved(trusted.world, script())
    swapped = replace(entry, bundle=script("return 6\n"))
    assert reason(lambda: trusted.trust.authorise(entry.bundle.digest, swapped, NOW)) == "wrong_digest"


# what is remembered --------------------------------------------------------------------------------------------------


@pytest.fixture
def remembered(trusted: Premises, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A script that was proved once is proved no second time; return a count of the proofs."""
    found: list[int] = []
    real = trusting.authorise

    def counted(*arguments: Any, **named: Any) -> Any:
        found.append(1)
        return real(*arguments, **named)

    monkeypatch.setattr(trusting, "authorise", counted)
    return found


def test_the_same_script_is_proved_once(trusted: Premises, remembered: list[int]) -> None:
    entry = approved(trusted.world, script())
    for _ in range(3):
        trusted.trust.authorise(entry.bundle.digest, entry, NOW)
    assert len(remembered) == 1


def test_a_withdrawal_counts_at_once_for_what_was_proved_before(trusted: Premises) -> None:
    entry = approved(trusted.world, script())
    trusted.trust.authorise(entry.bundle.digest, entry, NOW)
    trusted.trust.add_withdrawals([withdrawal(trusted.world)], NOW)
    assert reason(lambda: trusted.trust.authorise(entry.bundle.digest, entry, NOW)) == "withdrawn"


def test_a_new_roster_counts_at_once_for_what_was_proved_before(trusted: Premises) -> None:
    entry = approved(trusted.world, script())
    trusted.trust.authorise(entry.bundle.digest, entry, NOW)
    trusted.trust.set_roster(signed(trusted.world, 2, keys=[trusted.world.member("bob")]), NOW)
    assert reason(lambda: trusted.trust.authorise(entry.bundle.digest, entry, NOW)) == "unknown_key"


def test_an_approval_ends_at_its_moment_for_what_was_proved_before(trusted: Premises) -> None:
    entry = approved(trusted.world, script())
    until = trusted.trust.authorise(entry.bundle.digest, entry, NOW).expires
    trusted.trust.authorise(entry.bundle.digest, entry, until - timedelta(microseconds=1))
    assert reason(lambda: trusted.trust.authorise(entry.bundle.digest, entry, until)) == "expired"


def test_newer_statements_of_the_same_digest_are_proved_anew(trusted: Premises) -> None:
    entry = approved(trusted.world, script())
    trusted.trust.authorise(entry.bundle.digest, entry, NOW)
    less = replace(entry, approvals=())
    assert reason(lambda: trusted.trust.authorise(entry.bundle.digest, less, NOW)) == "not_approved"


# the ceiling ---------------------------------------------------------------------------------------------------------


def test_without_a_file_the_strictest_ceiling_holds(premises: Premises) -> None:
    assert replace(premises.trust.ceiling(), layer=None) == DEFAULT
    premises.allow("highest_tier: admin\n")
    assert premises.trust.ceiling().highest_tier is Tier.ADMIN
    premises.state.ceiling.unlink()
    assert replace(premises.trust.ceiling(), layer=None) == DEFAULT, "not the one that was there"


def test_the_ceiling_is_read_again_when_its_file_changes(premises: Premises) -> None:
    """Its owner must not have to restart anything to stop something."""
    premises.allow("highest_tier: admin\n")
    premises.trust.ceiling()
    for text, tier in (("highest_tier: inspect\n", Tier.INSPECT), ("highest_tier: operate\n", Tier.OPERATE)):
        fresh = premises.state.ceiling.with_name("fresh")
        fresh.write_text(text)
        os.utime(fresh, ns=(7, 7))  # an editor that keeps times, and replaces the file
        fresh.replace(premises.state.ceiling)
        assert premises.trust.ceiling().highest_tier is tier


def test_where_mounts_show_the_agents_files_they_are_denied_from_then_on(
    premises: Premises, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also under a ceiling that was read before, and where there is none; and no longer than they are shown there."""
    others: list[tuple[str, ...]] = [(), ("/mnt/again",), ("/mnt/again",), ()]
    for is_written in (False, True):
        if is_written:
            premises.allow("highest_tier: admin\n")
        for names in others:
            monkeypatch.setattr(OtherNames, "now", lambda _, names=names: names)
            layer = premises.trust.ceiling().layer
            assert layer is not None
            verdict = decide_effective(Effective((layer,)), "fs.read", Facts(path="/mnt/again/identity.key"))
            assert verdict.rule.startswith("the agent's own files") == bool(names)


@pytest.mark.parametrize("text", ["highest_teir: admin\n", "frozen: {\n", "frozen: maybe\n"])
def test_a_ceiling_that_is_wrong_lets_nothing_pass_until_it_is_right(premises: Premises, text: str) -> None:
    premises.allow()
    premises.trust.ceiling()
    premises.allow(text)
    for _ in range(2):
        with pytest.raises(DocumentError, match=r"ceiling\.yaml:"):
            premises.trust.ceiling()
    premises.allow()
    assert premises.trust.ceiling().highest_tier is Tier.OBSERVE


def test_a_ceiling_that_others_may_write_is_not_believed(premises: Premises) -> None:
    premises.allow()
    premises.state.ceiling.chmod(0o646)
    with pytest.raises(UnavailableError, match="ceiling"):
        premises.trust.ceiling()


def test_a_ceiling_that_others_come_to_be_able_to_write_is_not_believed_any_more(premises: Premises) -> None:
    """What was read is still what the owner wrote, but nobody can know for how long."""
    premises.allow()
    premises.trust.ceiling()
    premises.state.ceiling.chmod(0o646)
    with pytest.raises(UnavailableError, match="ceiling"):
        premises.trust.ceiling()


COARSE_NS = 10_000_000  # the tick of a kernel with 100 in a second


def coarse(path: Path) -> SimpleNamespace:
    """Return what such a kernel says of a file, unless it has Linux 6.13's finer times."""
    told = os.stat(path)
    names = [name for name in dir(told) if name.startswith("st_")]
    ticks = {name: getattr(told, name) // COARSE_NS * COARSE_NS for name in ("st_mtime_ns", "st_ctime_ns")}
    return SimpleNamespace(**{name: getattr(told, name) for name in names} | ticks)


def test_changes_within_one_tick_of_the_kernel_are_seen(premises: Premises, monkeypatch: pytest.MonkeyPatch) -> None:
    """They bear the same time: one was not seen on the first aarch64 machine that ran the test above."""
    monkeypatch.setattr(Path, "stat", coarse)
    for _ in range(20):
        premises.allow("highest_tier: inspect\n")
        assert premises.trust.ceiling().highest_tier is Tier.INSPECT
        premises.allow("highest_tier: operate\n")  # as long as the one before
        assert premises.trust.ceiling().highest_tier is Tier.OPERATE
        premises.state.ceiling.chmod(0o646)
        with pytest.raises(UnavailableError, match="ceiling"):
            premises.trust.ceiling()


def test_a_ceiling_that_has_stood_for_a_while_is_not_read_again(
    premises: Premises, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one that a clock set back makes one of the future is."""
    premises.allow()
    changed_ns, reads = premises.state.ceiling.stat().st_ctime_ns, []
    monkeypatch.setattr(trusting, "read_bounded", lambda *given: reads.append(given) or read_bounded(*given))
    for later_s, expected in ((-1000, 2), (0, 2), (2, 2), (3, 1), (1000, 0)):
        monkeypatch.setattr(trusting.time, "time_ns", lambda now=changed_ns + later_s * 10**9: now)
        reads.clear()
        for _ in range(2):
            premises.trust.ceiling()
        assert len(reads) == expected, later_s


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to(path), lambda path: os.mkfifo(path)])
def test_a_ceiling_that_is_no_file_lets_nothing_run(premises: Premises, make: Callable[[Path], None]) -> None:
    make(premises.state.ceiling)
    with pytest.raises(UnavailableError, match="ceiling"):
        premises.trust.ceiling()


def test_the_tier_that_was_approved_is_held_against_the_ceiling(trusted: Premises) -> None:
    entry = approved(trusted.world, script(tier="inspect"))
    proved = trusted.trust.authorise(entry.bundle.digest, entry, NOW)
    trusted.trust.check_tier(proved, Ceiling(highest_tier=Tier.INSPECT))
    assert reason(lambda: trusted.trust.check_tier(proved, Ceiling(highest_tier=Tier.OBSERVE))) == "above_ceiling"


def test_who_froze_the_host_is_said() -> None:
    check_not_frozen(Ceiling(), None)
    for ceiling, freeze, rule in (
        (Ceiling(frozen=True), None, "ceiling.yaml: frozen"),
        (Ceiling(), Freeze("an incident"), "freeze"),
        (Ceiling(frozen=True), Freeze(""), "ceiling.yaml: frozen"),
    ):
        with pytest.raises(DeniedError) as caught:
            check_not_frozen(ceiling, freeze)
        assert caught.value.rule == rule
