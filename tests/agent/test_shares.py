"""What never comes back takes a bounded part of the threads for what may block, whoever visits it, however often."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path

import pytest
from premises import approved, script, until
from silence import silent
from visiting import PATIENCE_S, all_back
from works import Works

from agent import limits
from agent.shares import Shares
from kernel.visits import MAX_THREADS, VISITS, count_for
from sandbox import attempts

pytestmark = pytest.mark.asyncio(loop_scope="module")

CATCH = """
local done, e = pcall(fs.stat, "%s/x")
return done and {"answered"} or {e.code, e.message}
"""


def away(works: Works) -> int:
    """Return how many threads the script has that all of these runs are of."""
    account = works.sessions._worker._shares._scripts.get("checks/disk")
    return 0 if account is None else account.held


async def test_a_script_that_visits_what_never_answers_takes_its_own_share(
    works: Works, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One run after the other, as a schedule would have it: 64 of them were the end of all calls that may block."""
    monkeypatch.setattr(limits, "MAX_SCRIPT_VISITS", 3)
    monkeypatch.setattr(attempts, "STUCK_S", 0.0)
    place = tmp_path / "away"
    place.mkdir()
    stuck = approved(works.world, script(CATCH % place))
    other = approved(works.world, script(CATCH % tmp_path, name="checks/other"))
    for each in (stuck, other):
        works.repository.put(each)
    await all_back()
    with silent(place):
        for number in range(3):
            await works.ask(stuck.bundle.digest, run_id=f"away_{number}")
            await until(lambda: away(works) == number + 1)  # noqa: B023 - waited for at once
            works.sessions.cancel(f"away_{number}", "enough")
            assert (await works.end(f"away_{number}")).outcome == "killed"
        for number in range(3, 6):
            ended = await works.run(stuck.bundle.digest, run_id=f"away_{number}")
            code, told = ended.data["result"]
            assert (code, told.split(":")[0]) == ("budget", "visits")
            assert "3 visits of the script checks/disk to files that do not answer" in told
        await until(lambda: VISITS.threads - len(VISITS._free) == 3)  # as soon as what others wanted is done
        ended = await works.run(other.bundle.digest, run_id="other")
        assert ended.data["result"] == ["answered"], "another script is served as ever"
    await all_back()  # now that the server is gone


async def test_a_run_ends_although_what_it_made_as_temporary_waits_for_a_thread(
    works: Works, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that its script may have are away for good. It had its place on the host for ever, and no end on record."""
    monkeypatch.setattr(limits, "MAX_SCRIPT_VISITS", 1)
    monkeypatch.setattr("sandbox.held.CLOSE_TIMEOUT_S", 0.1)
    place = tmp_path / "away"
    place.mkdir()
    source = f"log.info(fs.tempdir())\nreturn fs.stat('{place}/x')"
    works.premises.allow("highest_tier: inspect\naccept_server_word: [run]\n")
    stuck = approved(works.world, script(source, tier="inspect"))
    works.repository.put(stuck)
    with silent(place):
        await works.ask(stuck.bundle.digest, run_id="away")
        while not (told := [each for each in await works.premises.records("call") if each.call == "log.info"]):
            await asyncio.sleep(0)
        await until(lambda: away(works) == 1)
        works.sessions.cancel("away", "enough")
        async with asyncio.timeout(PATIENCE_S):
            ended = await works.end("away")
        assert (ended.outcome, ended.data["reason"]) == ("killed", "enough"), ended.data
        made = Path(told[0].arguments["text"])
        assert made.is_dir(), "it is to be removed by a thread of that script's own"
    await all_back()
    assert not made.exists()


async def test_accounts_are_one_for_a_script_and_one_for_a_person() -> None:
    """And last as long as anybody has one: a host sees many names in a year."""
    shares = Shares()
    (own, shared), (another, same) = shares.of_run("a/b"), shares.of_run("a/b")
    assert own is not another
    assert shared is same
    assert shares.of_run("a/c")[1] is not shared
    assert shares.of_session("mia")[1] is shares.of_session("mia")[1] or not gc.collect()
    del shared, same
    gc.collect()
    assert list(shares._scripts) == []


async def test_one_of_each_leaves_room_for_the_others() -> None:
    assert limits.MAX_RUN_VISITS <= limits.MAX_SCRIPT_VISITS <= MAX_THREADS // 4
    assert limits.MAX_SESSION_VISITS <= limits.MAX_PERSON_VISITS < MAX_THREADS // 2


async def test_what_is_begun_inside_of_a_run_is_begun_for_that() -> None:
    """A script that is called has no share of its own beside its caller's."""
    shares = Shares()
    outer, inner = shares.of_run("a/outer"), shares.of_run("a/inner")

    async def call() -> tuple[int, int]:
        count_for(*inner)
        visit = VISITS.begin(lambda: None)
        counted = (outer[1].held, inner[1].held)
        await visit
        return counted

    async def run() -> tuple[int, int]:
        count_for(*outer)
        return await asyncio.create_task(call())

    assert await asyncio.create_task(run()) == (1, 0)
    assert (outer[1].held, outer[0].held) == (0, 0)
