"""Questions to a host's owner: who may answer, what happens without an answer, and that nobody is worn down."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from premises import Premises, until

from agent import consent
from agent.consent import OWNER, SERVER, Consents, Notice, Question, Settled, Told
from protocol.errors import DeniedError, NotFoundError
from sandbox.parties import Answer

CEILING = "highest_tier: admin\nsessions: {consent: ask, consent_timeout: 60s}\n"


@pytest.fixture
def desk(premises: Premises) -> Consents:
    premises.allow(CEILING)
    return Consents(premises.trust.ceiling, premises.recorder, premises.clock)


def ask(desk: Consents, **changes: Any) -> asyncio.Future[Answer]:
    asked = {"about": "session", "session": "s_1", "principal": "oli"} | changes
    return asyncio.ensure_future(desk.ask(asked.pop("text", "May oli?"), **asked))


async def waiting(desk: Consents, count: int = 1) -> Question:
    await until(lambda: len(desk.pending) == count)
    return desk.pending[-1]


async def told(premises: Premises) -> list[tuple[str, Any]]:
    return [(record.outcome, record.data.get("by")) for record in await premises.records("event")]


async def test_the_owner_says_yes_and_it_is_on_record(premises: Premises, desk: Consents) -> None:
    answer = ask(desk)
    question = await waiting(desk)
    assert (question.text, question.about, question.session) == ("May oli?", "session", "s_1")
    desk.answer(question.id, granted=True, by="root", channel=OWNER)
    assert await answer == Answer(True, "root (on the host)", "")
    assert desk.pending == []
    assert await told(premises) == [("asked", None), ("granted", "root (on the host)")]


async def test_a_no_is_a_no_from_whoever_it_comes(desk: Consents) -> None:
    for channel in (OWNER, SERVER):
        answer = ask(desk)
        desk.answer((await waiting(desk)).id, granted=False, by="ana", channel=channel)
        assert not (await answer).granted


async def test_nobody_in_time_is_a_no(premises: Premises, desk: Consents) -> None:
    answer = ask(desk)
    await waiting(desk)
    await premises.clock.settled()
    premises.clock.move(60.0)
    assert await answer == Answer(False, "", "nobody answered in time")
    assert (await told(premises))[-1] == ("deadline", "")


async def test_whoever_asks_may_want_it_sooner_but_not_later(premises: Premises, desk: Consents) -> None:
    for timeout_s, expected_s in ((5.0, 5.0), (500.0, 60.0)):
        answer = ask(desk, timeout_s=timeout_s)
        question = await waiting(desk)
        assert question.expires_us - question.asked_us == expected_s * 1_000_000
        desk.withdraw("s_1")
        assert not (await answer).granted


async def test_the_servers_approvers_may_say_yes_only_where_the_owner_lets_them(
    premises: Premises, desk: Consents
) -> None:
    """A server that has been taken over would say yes to everything."""
    answer = ask(desk)
    question = await waiting(desk)
    with pytest.raises(DeniedError, match="owner"):
        desk.answer(question.id, granted=True, by="ana", channel=SERVER)
    assert not answer.done()
    premises.allow(CEILING + "accept_server_word: [session, consent]\n")
    with pytest.raises(DeniedError, match="oli asks"):
        desk.answer(question.id, granted=True, by="oli", channel=SERVER)
    desk.answer(question.id, granted=True, by="ana", channel=SERVER)
    assert (await answer).by == "ana (at the server)"


async def test_a_ceiling_that_is_damaged_lets_nobody_say_yes(premises: Premises, desk: Consents) -> None:
    answer = ask(desk)
    question = await waiting(desk)
    premises.allow("sessions: {consnt: never}\n")
    with pytest.raises(Exception, match="consnt"):
        desk.answer(question.id, granted=True, by="ana", channel=SERVER)
    desk.answer(question.id, granted=False, by="root", channel=OWNER)
    assert not (await answer).granted
    assert "consnt" in (await ask(desk)).why


async def test_an_answer_counts_once_and_to_a_question_that_waits(desk: Consents) -> None:
    answer = ask(desk)
    question = await waiting(desk)
    desk.answer(question.id, granted=False, by="root", channel=OWNER)
    for identity in (question.id, "q_nothing"):
        with pytest.raises(NotFoundError):
            desk.answer(identity, granted=True, by="root", channel=OWNER)
    assert not (await answer).granted


async def test_who_waits_no_more_withdraws_his_question(premises: Premises, desk: Consents) -> None:
    answer = ask(desk)
    await waiting(desk)
    answer.cancel()
    await asyncio.wait([answer])
    assert desk.pending == []
    assert (await told(premises))[-1][0] == "withdrawn"


async def test_nobody_is_asked_until_he_gives_in(desk: Consents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consent, "MAX_PENDING", 5)
    answers = [ask(desk) for _ in range(consent.MAX_PENDING_OF_ONE)]
    await waiting(desk, consent.MAX_PENDING_OF_ONE)
    assert "too many" in (await ask(desk)).why, "of one session at once"
    other = ask(desk, session="s_2")
    await waiting(desk, 5)
    assert "too many" in (await ask(desk, session="s_3")).why, "of all"
    for session in ("s_1", "s_2"):
        desk.withdraw(session)
    await asyncio.gather(*answers, other)
    for _ in range(consent.MAX_ASKED_OF_ONE - consent.MAX_PENDING_OF_ONE):
        answer = ask(desk)
        await waiting(desk)
        desk.withdraw("s_1")
        await answer
    assert "too many" in (await ask(desk)).why, "of one session in all"
    desk.forget("s_1")
    answer = ask(desk)
    await waiting(desk)
    desk.withdraw("s_1")
    await answer


async def test_scripts_that_a_script_calls_ask_on_its_account(desk: Consents) -> None:
    """Each of them is a run of its own, and there is no end to how many there may be."""
    for number in range(consent.MAX_ASKED_OF_ONE):
        answer = ask(desk, session=f"run_{number}", chain="run_first")
        await waiting(desk)
        desk.withdraw(f"run_{number}")
        await answer
        desk.forget(f"run_{number}")
    assert "too many" in (await ask(desk, session="run_last", chain="run_first")).why
    desk.forget("run_first")
    answer = ask(desk, session="run_last", chain="run_first")
    await waiting(desk)
    desk.withdraw("run_last")
    await answer


async def test_a_text_is_one_bounded_line_that_no_terminal_obeys(desk: Consents) -> None:
    answer = ask(desk, text="ok\x1b[2K\r\ngranted\u202e" + "x" * 5000)
    question = await waiting(desk)
    assert question.text.startswith("ok\ufffd[2K\ufffd\ufffdgranted\ufffdxx")
    assert len(question.text) == consent.MAX_TEXT_CHARS
    desk.withdraw("s_1")
    await answer


async def test_a_question_that_cannot_be_recorded_is_a_no(
    premises: Premises, desk: Consents, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise DeniedError("disk full")

    monkeypatch.setattr(premises.recorder, "append", refuse)
    assert "disk full" in (await ask(desk)).why
    assert desk.pending == []


async def test_followers_hear_of_it_and_one_that_fails_harms_nobody(desk: Consents) -> None:
    heard: list[Told] = []

    def fail(_: Told) -> None:
        raise ZeroDivisionError

    desk.follow(fail)
    leave = desk.follow(heard.append)
    answer = ask(desk)
    question = await waiting(desk)
    desk.answer(question.id, granted=True, by="root", channel=OWNER)
    assert (await answer).granted
    desk.notify("oli is here", session="s_1", principal="oli")
    leave()
    desk.notify("not heard", session="s_1", principal="oli")
    assert heard == [
        question, Settled(question, "granted", "root (on the host)"), Notice("oli is here", "s_1", "oli")
    ]  # fmt: skip
