"""Whether a run may begin: everything that stands between a wish and a worker, proved anew for each run, on record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from premises import Premises, approved, script
from works import Works, wish
from world import DIGEST, NOW, ROLES, World

from agent import limits, rows
from agent.cache import Entry
from agent.confinement import Confinement
from agent.link import Fetched
from agent.recorder import Recorder
from agent.trusting import Freeze
from policies.decide import decide_effective
from policies.model import Effect, Facts
from protocol.errors import DeniedError, TrustError, UnavailableError
from protocol.signing import sign
from protocol.timestamps import stamp
from sandbox.jail.walls import LANDLOCK, WALLS, State, Wall

pytestmark = pytest.mark.asyncio(loop_scope="module")


def offered(works: Works, entry: Entry | None = None) -> str:
    """Put a bundle on the server; without one, one that is in order. Returns its digest."""
    entry = entry or approved(works.world, script())
    works.repository.put(entry)
    return entry.bundle.digest


async def test_what_is_in_order_runs(works: Works) -> None:
    end = await works.run(offered(works))
    assert (end.outcome, end.data["result"]) == ("ok", 1)
    assert [record.kind for record in await works.premises.records()] == ["run.start", "run.end"]


# what is not proved --------------------------------------------------------------------------------------------------


def published_by(world: World, *signers: str, **changes: Any) -> Entry:
    entry = approved(world, script())
    about = {"digest": entry.bundle.digest} | changes
    return replace(entry, publication=world.publication(*signers, **about))


def approved_by(world: World, *signers: str, **changes: Any) -> Entry:
    entry = approved(world, script())
    about = {"digest": entry.bundle.digest} | changes
    return replace(entry, approvals=(world.approval(*signers, **about),))


def unsigned(entry: Entry) -> Entry:
    return replace(entry, publication=replace(entry.publication, signatures=()))


def of_other_name(world: World) -> Entry:
    """The manifest says what its author did not sign."""
    entry = approved(world, script(name="checks/other"))
    about = {"digest": entry.bundle.digest}
    return replace(entry, publication=world.publication(**about), approvals=(world.approval(**about),))


UNPROVED: list[tuple[str, Callable[[World], Entry]]] = [
    ("unsigned", lambda w: unsigned(approved(w, script()))),
    ("unknown_key", lambda w: published_by(w, "mallory")),
    ("wrong_digest", lambda w: published_by(w, digest=DIGEST)),
    ("wrong_namespace", lambda w: published_by(w, "dan")),
    ("wrong_namespace", lambda w: approved(w, script(name="other/disk"))),
    ("self_approval", lambda w: approved_by(w, "ann")),
    ("not_approved", lambda w: replace(approved(w, script()), approvals=())),
    ("not_approved", lambda w: approved_by(w, "dan")),
    ("expired", lambda w: approved_by(w, expires=stamp(NOW))),
    ("mix_and_match", of_other_name),
]


@pytest.mark.parametrize(("reason", "entry"), UNPROVED)
async def test_what_is_not_proved_does_not_run(works: Works, reason: str, entry: Callable[[World], Entry]) -> None:
    """The server hands it out all the same: the host decides for itself."""
    record = await works.refusal(offered(works, entry(works.world)), parameters={"device": "sda"})
    assert (record.outcome, record.data["reason"]) == ("untrusted", reason)
    assert (record.principal, record.arguments) == ("oli", {"device": "sda"})


async def test_another_bundle_than_the_one_that_was_asked_for(works: Works) -> None:
    """Everything about it is signed and approved, but it is not what was ordered."""
    works.repository.put(approved(works.world, script("return 2\n")), digest=DIGEST)
    assert await works.reason(DIGEST) == "wrong_digest"


async def test_changed_files_under_a_signed_digest(works: Works) -> None:
    entry = approved(works.world, script())
    works.repository.put(entry, packed=script("return os.exit()\n").pack())
    assert await works.reason(entry.bundle.digest) == "wrong_digest"


async def test_a_host_without_a_roster_runs_nothing(premises: Premises, confinement: Confinement) -> None:
    premises.allow()
    works = Works(premises, confinement)
    assert await works.reason(offered(works)) == "unsigned"


async def test_a_roster_that_has_expired_proves_nothing(works: Works) -> None:
    """A host that is kept from newer rosters stops in the end, instead of trusting keys that were taken away."""
    digest = offered(works)
    assert (await works.run(digest)).outcome == "ok"
    works.premises.clock.set(NOW + timedelta(days=30))
    assert await works.reason(digest, run_id="run_2") == "expired"


async def test_a_roster_that_is_rolled_back_changes_nothing(works: Works) -> None:
    """The version before still knew the author."""
    without_ann = [works.world.member(name) for name in ("bob", "oli")]
    works.premises.take_roster(2, keys=without_ann)
    with pytest.raises(TrustError) as caught:
        works.premises.take_roster(1)
    assert caught.value.reason == "rollback"
    await works.restart()
    with pytest.raises(TrustError, match="older"):
        works.premises.take_roster(1)
    assert await works.reason(offered(works)) == "unknown_key"


async def test_a_withdrawn_script(works: Works) -> None:
    digest = offered(works)
    assert (await works.run(digest)).outcome == "ok"
    works.premises.trust.add_withdrawals([works.world.withdrawal(digest=digest)], NOW)
    assert await works.reason(digest, run_id="run_2") == "withdrawn"
    await works.restart()
    assert await works.reason(digest, run_id="run_3") == "withdrawn"


async def test_a_withdrawal_outlives_the_key_that_signed_it(works: Works) -> None:
    """Taking a reviewer off the roster must not lift what he withdrew."""
    digest = offered(works, approved_by(works.world, "cid"))
    works.premises.trust.add_withdrawals([works.world.withdrawal(digest=digest)], NOW)
    works.premises.take_roster(2, keys=[works.world.member(name) for name in ("ann", "cid")])
    assert await works.reason(digest) == "withdrawn"


# what the host's owner says ------------------------------------------------------------------------------------------


async def test_a_tier_above_the_ceiling(works: Works) -> None:
    digest = offered(works, approved(works.world, script(tier="inspect")))
    record = await works.refusal(digest)
    assert record.data["reason"] == "above_ceiling"
    assert "inspect" in record.data["message"]
    works.premises.allow("highest_tier: inspect\naccept_server_word: [run]\n")
    assert (await works.run(digest, run_id="run_2")).outcome == "ok", "the owner's file is read again"


async def test_the_ceiling_binds_the_tier_that_was_approved(works: Works) -> None:
    """An author asks for much, the reviewer grants less: what was granted counts."""
    digest = offered(works, approved(works.world, script(tier="inspect"), tier="observe"))
    assert (await works.run(digest)).outcome == "ok"


async def test_the_servers_word_where_the_owner_wants_an_operators(works: Works) -> None:
    works.premises.allow("highest_tier: observe\naccept_server_word: [schedule]\n")
    assert await works.reason(offered(works)) == "operator_signature_required"


async def test_a_denial_by_a_name_that_is_a_link_here_holds(works: Works, tmp_path: Path) -> None:
    """As of /var/run, which is /run: a script that goes there directly meets the denial as well."""
    (tmp_path / "real").mkdir()
    (tmp_path / "named").symlink_to("real")
    entry = approved(works.world, script(f"return fs.exists('{tmp_path}/real')\n"))
    digest = offered(works, entry)
    assert (await works.run(digest)).outcome == "ok"
    works.premises.allow(
        f"highest_tier: observe\naccept_server_word: [run]\ndeny: [{{call: '*', paths: ['{tmp_path}/named/**']}}]\n"
    )
    end = await works.run(digest, run_id="run_2")
    assert end.outcome == "denied"
    assert "ceiling.yaml:3 deny" in end.data["reason"], end.data


async def test_a_ceiling_that_cannot_be_read_lets_nothing_run(works: Works) -> None:
    digest = offered(works)
    works.premises.allow("accept_server_word: [run]\nfrozn: false\n")
    record = await works.refusal(digest)
    assert record.outcome == "invalid_document"
    assert "ceiling.yaml:2: frozn" in record.data["message"]


async def test_a_ceiling_that_others_may_write_lets_nothing_run(works: Works) -> None:
    digest = offered(works)
    works.premises.state.ceiling.chmod(0o666)
    assert (await works.refusal(digest)).outcome == "unavailable"


async def test_a_host_that_its_owner_froze(works: Works) -> None:
    digest = offered(works)
    works.premises.allow("frozen: true\naccept_server_word: [run]\n")
    record = await works.refusal(digest)
    assert (record.outcome, record.rule) == ("denied", "ceiling.yaml: frozen")
    await works.admission.set_freeze(None)
    assert (await works.refusal(digest, run_id="run_2")).outcome == "denied", "no server lifts that"


@pytest.mark.parametrize("kept", [b"x", b"5", b"{}", b"[" * 100_000, b"\xff"])
async def test_a_freeze_that_somebody_changed_on_the_disk_is_told(works: Works, kept: bytes) -> None:
    """Whether the host is frozen is not known then, so nothing starts."""
    await works.premises.recorder.commit([], [rows.set_meta("freeze", kept)])
    with pytest.raises(UnavailableError, match="frozen makes no sense"):
        await works.restart()
    await works.premises.recorder.commit([], [rows.set_meta("freeze", b"null")])


async def test_a_freeze_by_the_server_holds_over_restarts(works: Works) -> None:
    digest = offered(works)
    await works.admission.set_freeze(Freeze("an incident"))
    assert (await works.refusal(digest)).rule == "freeze"
    await works.restart()
    record = await works.refusal(digest, run_id="run_2")
    assert "an incident" in record.data["message"]
    await works.admission.set_freeze(None)
    assert (await works.run(digest, run_id="run_3")).outcome == "ok"
    await works.restart()
    assert works.admission.freeze is None
    assert [record.outcome for record in await works.premises.records("event")] == ["frozen", "unfrozen"]


# walls ---------------------------------------------------------------------------------------------------------------


class Cell:
    """A sandbox that stands on a kernel of the test's choice, and in which nothing must ever run."""

    def __init__(self, *missing: str) -> None:
        self.walls = tuple(
            Wall(name, State.MISSING if name in missing else State.UP, "no such system call") for name in WALLS
        )
        self.zygote_pid = None

    async def close(self) -> None:
        return None


async def behind(premises: Premises, *missing: str) -> Works:
    premises.take_roster()

    async def start(_: Any) -> Any:
        return Cell(*missing)

    return Works(premises, Confinement([], start))


@pytest.mark.parametrize("wall", ["landlock", "seccomp"])
async def test_a_required_wall_that_is_missing(premises: Premises, wall: str) -> None:
    """The owner said that nothing runs without it; its name and the reason are on record."""
    works = await behind(premises, wall)
    premises.allow(f"required_walls: [{wall}]\naccept_server_word: [run]\n")
    record = await works.refusal(offered(works))
    assert record.outcome == "unavailable"
    assert f"{wall} (no such system call)" in record.data["message"]


async def test_the_walls_that_every_kernel_has_are_required_without_a_word(premises: Premises) -> None:
    works = await behind(premises, "seccomp")
    premises.allow("accept_server_word: [run]\n")
    assert (await works.refusal(offered(works))).outcome == "unavailable"


async def test_a_wall_that_nobody_requires_may_be_missing(premises: Premises) -> None:
    works = await behind(premises, LANDLOCK)
    premises.allow("accept_server_word: [run]\n")
    digest = offered(works)
    admitted = await works.admission.admit(wish(digest))
    assert admitted.proved.digest == digest


async def test_a_host_whose_sandbox_does_not_start_runs_nothing_and_says_why(premises: Premises) -> None:
    premises.take_roster()
    premises.allow()

    async def start(_: Any) -> Any:
        raise UnavailableError("user namespaces are switched off here")

    works = Works(premises, Confinement([], start))
    record = await works.refusal(offered(works))
    assert "user namespaces are switched off here" in record.data["message"]


# what was asked for --------------------------------------------------------------------------------------------------

PARAMETERS = "parameters: {device: {type: string, required: true}, depth: {type: integer, default: 3}}\n"


@pytest.mark.parametrize(
    ("given", "named"), [({}, "device"), ({"device": 7}, "device"), ({"device": "sda", "colour": "red"}, "colour")]
)
async def test_parameters_that_the_script_does_not_take(works: Works, given: dict[str, Any], named: str) -> None:
    record = await works.refusal(offered(works, approved(works.world, script(more=PARAMETERS))), parameters=given)
    assert record.outcome == "invalid_argument"
    assert named in record.data["message"]


async def test_parameters_come_with_their_defaults(works: Works) -> None:
    admitted = await works.admission.admit(
        wish(offered(works, approved(works.world, script(more=PARAMETERS))), parameters={"device": "sda"})
    )
    assert admitted.parameters == {"device": "sda", "depth": 3}


async def test_a_grant_that_cannot_be_understood_grants_nothing(works: Works) -> None:
    entry = approved(works.world, script(), grant={"allow": [{"cal": "fs.stat"}]})
    record = await works.refusal(offered(works, entry))
    assert (record.data["reason"], "cal" in record.data["message"]) == ("malformed", True)


async def test_nothing_begins_while_records_cannot_be_written(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recorder, "problem", "disk I/O error")
    with pytest.raises(UnavailableError, match="disk I/O error"):
        await works.admission.admit(wish(offered(works)))


# orders --------------------------------------------------------------------------------------------------------------


def order(works: Works, digest: str, **changes: Any) -> Any:
    body = {
        "type": "order", "action": "run", "agents": ["agt_0123456789abcdef"], "digest": digest, "parameters": {},
        "issued": stamp(NOW), "expires": stamp(NOW + timedelta(minutes=5)), "nonce": "once",
    } | changes  # fmt: skip
    return sign("order", body, works.world.key("oli")).to_plain()


async def test_an_operators_order_is_good_for_one_run(works: Works) -> None:
    """Whoever records the link must not be able to play an order again."""
    digest = offered(works)
    works.premises.allow("accept_server_word: []\n")
    assert (await works.run(digest, order=order(works, digest))).outcome == "ok"
    assert await works.reason(digest, run_id="run_2", order=order(works, digest)) == "replayed_token"
    await works.restart()
    assert await works.reason(digest, run_id="run_3", order=order(works, digest)) == "replayed_token"


async def test_an_order_used_twice_at_once_is_good_for_one_run(works: Works) -> None:
    """The first use is not on the disk yet when the second is decided about."""
    digest = offered(works)
    await works.admission.admit(wish(digest, order=order(works, digest)))
    with pytest.raises(TrustError) as caught:
        await works.admission.admit(wish(digest, order=order(works, digest)))
    assert caught.value.reason == "replayed_token"


async def test_spent_orders_do_not_fill_the_memory(works: Works, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent lives for months; what the disk knows need not be known twice, and still no order is good again."""
    monkeypatch.setattr(limits, "MAX_SPENT_IN_MEMORY", 4)
    digest = offered(works)
    for number in range(9):
        await works.run(digest, run_id=f"run_{number}", order=order(works, digest, nonce=str(number)))
    assert len(works.nonces._spent) <= 4
    for number in range(9):
        again = {"run_id": f"again_{number}", "order": order(works, digest, nonce=str(number))}
        assert await works.reason(digest, **again) == "replayed_token"


async def test_an_order_that_does_not_fit_is_refused_where_none_is_needed(works: Works) -> None:
    """Passing it over would run on the server's word what an operator signed differently."""
    digest = offered(works)
    assert await works.reason(digest, order=order(works, DIGEST)) == "mix_and_match"


# every run anew ------------------------------------------------------------------------------------------------------


def cached(works: Works, digest: str) -> Any:
    return works.premises.state.cache / f"{digest.removeprefix('sha256:')}.bundle"


async def test_the_second_run_comes_from_the_cache(works: Works) -> None:
    digest = offered(works)
    await works.run(digest)
    works.bundles.fetch = None
    await works.restart()
    works.bundles.fetch = None
    assert (await works.run(digest, run_id="run_2")).outcome == "ok"
    assert works.repository.asked == [digest]


async def test_a_cached_bundle_that_was_changed_is_fetched_again(works: Works) -> None:
    """Whoever can write to the cache must not choose what runs."""
    digest = offered(works)
    await works.run(digest)
    good = cached(works, digest).read_bytes()
    cached(works, digest).write_bytes(good.replace(b"return 1\n", b"return 6\n"))
    await works.restart()
    end = await works.run(digest, run_id="run_2")
    assert (end.outcome, end.data["result"]) == ("ok", 1)
    assert works.repository.asked == [digest, digest]
    assert cached(works, digest).read_bytes() == good


async def test_a_cached_bundle_that_was_changed_is_refused_without_a_server(works: Works) -> None:
    digest = offered(works)
    await works.run(digest)
    cached(works, digest).write_bytes(cached(works, digest).read_bytes().replace(b"return 1\n", b"return 6\n"))
    await works.restart()
    works.bundles.fetch = None
    assert (await works.refusal(digest, run_id="run_2")).outcome == "not_connected"


async def test_changing_the_cache_of_a_running_agent_changes_nothing(works: Works) -> None:
    digest = offered(works)
    await works.run(digest)
    cached(works, digest).write_bytes(cached(works, digest).read_bytes().replace(b"return 1\n", b"return 6\n"))
    assert (await works.run(digest, run_id="run_2")).data["result"] == 1


async def test_a_parsed_bundle_is_hashed_anew_for_each_run(works: Works) -> None:
    """What is in memory is what ran last time; a fault that changed it must not pass on the strength of that."""
    digest = offered(works)
    await works.run(digest)
    entry = works.bundles._cache._parsed[digest]
    entry.bundle.files = {**entry.bundle.files, "main.lua": b"return 6\n"}
    assert (await works.run(digest, run_id="run_2")).data["result"] == 1, "as the disk has it"


async def test_statements_that_were_changed_on_the_disk_are_fetched_again(works: Works) -> None:
    entry = approved_by(works.world, "mallory")
    digest = offered(works)
    works.bundles._cache.put(digest, entry)
    assert (await works.run(digest)).outcome == "ok"
    assert works.repository.asked == [digest]


async def test_an_approval_that_ended_is_asked_for_again_once(works: Works) -> None:
    """A schedule goes on when the reviewer has prolonged his approval, without anybody touching the host."""
    digest = offered(works, approved_by(works.world, expires=stamp(NOW + timedelta(hours=1))))
    await works.run(digest)
    works.premises.clock.set(NOW + timedelta(hours=2))
    assert await works.reason(digest, run_id="run_2") == "expired"
    offered(works, approved_by(works.world, expires=stamp(NOW + timedelta(days=1))))
    assert (await works.run(digest, run_id="run_3")).outcome == "ok"
    assert works.repository.asked == [digest, digest, digest]


async def test_what_the_server_says_to_the_second_question_does_not_hide_the_first_answer(works: Works) -> None:
    """The record must say that the approval has ended, not that a server was of no help."""
    digest = offered(works, approved_by(works.world, expires=stamp(NOW + timedelta(hours=1))))
    await works.run(digest)
    works.premises.clock.set(NOW + timedelta(hours=2))
    works.repository.held.clear()
    assert await works.reason(digest, run_id="run_2") == "expired"
    works.bundles.fetch = None
    assert await works.reason(digest, run_id="run_3") == "expired"


async def test_a_bundle_that_nobody_has(works: Works) -> None:
    assert (await works.refusal(DIGEST)).outcome == "unavailable"
    works.bundles.fetch = None
    record = await works.refusal(DIGEST, run_id="run_2")
    assert record.outcome == "not_connected"


async def test_a_server_that_sends_no_list_of_approvals(works: Works) -> None:
    entry = approved(works.world, script())
    odds: tuple[Any, ...] = (None, "all of them", [7], [{}] * 65)
    for odd in odds:
        works.repository.held[entry.bundle.digest] = Fetched(entry.bundle.pack(), entry.publication.to_plain(), odd)
        record = await works.refusal(entry.bundle.digest, run_id=f"run_{odd!r:.20}".replace(" ", ""))
        assert record.outcome in {"protocol", "invalid_argument"}


async def test_what_waited_is_decided_about_again(works: Works) -> None:
    """Between the wish and the place in which it runs the script was withdrawn, or the host frozen."""
    digest = offered(works)
    request = wish(digest)
    admitted = await works.admission.admit(request)
    works.admission.check_still(request, admitted)
    await works.admission.set_freeze(Freeze("stop"))
    with pytest.raises(DeniedError):
        works.admission.check_still(request, admitted)
    await works.admission.set_freeze(None)
    works.premises.allow("highest_tier: compute\n")
    with pytest.raises(TrustError, match="ceiling"):
        works.admission.check_still(request, admitted)
    works.premises.allow()
    works.premises.trust.add_withdrawals([works.world.withdrawal(digest=digest)], NOW)
    with pytest.raises(TrustError, match="withdrawn"):
        works.admission.check_still(request, admitted)


async def test_what_waited_runs_under_the_ceiling_as_it_is_then(works: Works) -> None:
    """The owner narrowed it meanwhile, which may have taken hours."""
    digest = offered(works)
    request = wish(digest)
    admitted = await works.admission.admit(request)
    works.premises.allow("highest_tier: observe\naccept_server_word: [run]\ndeny: [{call: sys.uptime}]\n")
    again = works.admission.check_still(request, admitted)
    verdicts = [decide_effective(each.effective, "sys.uptime", Facts()).effect for each in (admitted, again)]
    assert verdicts == [Effect.ALLOW, Effect.DENY]


async def test_what_waited_needs_who_may_order_it_still(works: Works) -> None:
    """The server's word was enough, or the operator's key was good."""
    digest = offered(works)
    request = wish(digest)
    admitted = await works.admission.admit(request)
    works.premises.allow("highest_tier: observe\naccept_server_word: []\n")
    with pytest.raises(TrustError, match="on the server's word"):
        works.admission.check_still(request, admitted)
    request = wish(digest, order=order(works, digest))
    admitted = await works.admission.admit(request)
    works.premises.clock.set(NOW.replace(hour=14))
    works.admission.check_still(request, admitted)  # it was in time, and has waited
    works.premises.take_roster(2, keys=[works.world.member(name) for name in ROLES if name != "oli"])
    with pytest.raises(TrustError, match="order"):
        works.admission.check_still(request, admitted)
