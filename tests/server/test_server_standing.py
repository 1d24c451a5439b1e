"""The words of lists: not proved again while nothing can have changed them, and never older than what they tell."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta
from typing import Any

import pytest
from headquarters import Headquarters, MovedClock, expect, script
from world import NOW

from protocol.bundle import Bundle
from protocol.signing import PrivateKey, sign
from protocol.timestamps import stamp
from server.services import kept_words, scripts, standing


@pytest.fixture
async def proofs(server: Headquarters, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Digests in the order in which they were proved for a list, from when nothing is looked at ahead any more."""
    async with asyncio.timeout(60):
        while not (server.directory / kept_words.FILE).exists():  # which is what looking ahead ends with
            await asyncio.sleep(0)
    found: list[str] = []
    real = scripts.stands

    def noting(core: Any, connection: Any, row: Any) -> Any:
        found.append(row.digest)
        return real(core, connection, row)

    monkeypatch.setattr(scripts, "stands", noting)
    return found


async def words(server: Headquarters) -> list[str]:
    return [item["status"] for item in await server.pages("/scripts", prefix="checks/")]


async def test_an_approval_is_not_proved_again_before_it_ends(
    server: Headquarters, clock: MovedClock, proofs: list[str]
) -> None:
    bundle = script()
    expect(await server.publish(bundle), 201)
    ends = stamp(NOW + timedelta(hours=1))
    expect(await server.approve(bundle, server.world.approval(**server.about(bundle), expires=ends)), 200)
    assert await words(server) == ["approved"]
    proofs.clear()
    clock.advance(minutes=59)
    assert await words(server) == ["approved"]
    assert proofs == []
    clock.advance(minutes=1)  # to the second
    assert await words(server) == ["expired"]
    assert proofs == [bundle.digest]


async def test_every_other_word_is_found_out_anew_after_a_minute(
    server: Headquarters, clock: MovedClock, proofs: list[str]
) -> None:
    bundle = script()
    expect(await server.publish(bundle), 201)
    assert await words(server) == ["waiting"]
    proofs.clear()
    clock.advance(seconds=standing.MAX_AGE_S - 1)
    assert await words(server) == ["waiting"]
    assert proofs == []
    clock.advance(seconds=1)
    assert await words(server) == ["waiting"]
    assert proofs == [bundle.digest]


async def test_what_is_said_meanwhile_counts_at_once(server: Headquarters) -> None:
    bundle = await server.bring_in(script())
    assert await words(server) == ["approved"]
    expect(await server.withdraw(bundle, "ann"), 200)
    assert await words(server) == ["withdrawn"]


async def test_a_statement_that_was_changed_on_the_disk_counts_at_once(server: Headquarters) -> None:
    bundle = await server.bring_in(script())
    assert await words(server) == ["approved"]
    other = server.world.publication(**(server.about(bundle) | {"version": "9.9.9"}), tier="observe")
    server.tamper("UPDATE scripts SET publication = :told", told=other.to_json())
    assert await words(server) == ["mix_and_match"]


async def test_a_new_roster_has_all_words_made_ahead(server: Headquarters, proofs: list[str]) -> None:
    """Nobody has looked at a list; one row that is damaged is in nobody's way."""
    made = {(await server.bring_in(script(name=f"checks/n{number}"))).digest for number in range(standing.AHEAD + 3)}
    damaged = script(name="checks/n0").digest
    server.tamper("UPDATE scripts SET publication = '{' WHERE digest = :of", of=damaged)
    proofs.clear()
    expect(await server.put_roster(2), 200)
    async with asyncio.timeout(60):
        while set(proofs) != made:
            await server.core.database.read(lambda _connection: None)  # behind what looks ahead, or between two of it
            await asyncio.sleep(0)
    proofs.clear()
    server.tamper("UPDATE scripts SET visibility = 'private' WHERE digest = :of", of=damaged)
    found = await server.pages("/scripts", prefix="checks/n1")
    assert {item["status"] for item in found} == {"approved"}
    assert proofs == []


# over a restart -------------------------------------------------------------------------------------------------------


@pytest.fixture
async def kept(server: Headquarters, proofs: list[str]) -> Bundle:
    """A script whose word was looked at, and a server that has ended and forgotten it."""
    bundle = await server.bring_in(script())
    assert await words(server) == ["approved"]
    await server.core.stop_background()  # else what looks ahead would save what it finds after that
    await standing.put_by(server.core)
    standing.forget()
    proofs.clear()
    return bundle


async def test_a_server_that_begins_again_has_the_words_that_it_ended_with(
    server: Headquarters, kept: Bundle, proofs: list[str]
) -> None:
    await standing.take_up(server.core)
    assert await words(server) == ["approved"]
    assert proofs == []
    assert (server.directory / kept_words.FILE).stat().st_mode & 0o777 == 0o600


async def test_a_kept_word_is_held_against_what_it_was_made_from(
    server: Headquarters, kept: Bundle, proofs: list[str]
) -> None:
    """What was withdrawn while the file lay there, as by another server on the database, is withdrawn."""
    await standing.take_up(server.core)
    expect(await server.withdraw(kept, "ann"), 200)
    assert await words(server) == ["withdrawn"]


async def test_a_kept_word_ends_with_what_it_rests_on(
    server: Headquarters, kept: Bundle, clock: MovedClock, proofs: list[str]
) -> None:
    clock.advance(days=8)  # the approval has ended
    await standing.take_up(server.core)
    assert await words(server) == ["expired"]


@pytest.mark.parametrize("how", ["word", "key", "cut", "garbage", "large", "form", "folder"])
async def test_a_file_that_this_server_did_not_write_says_nothing(
    server: Headquarters, kept: Bundle, proofs: list[str], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else who can write there could show reviewers what is not so."""
    path = server.directory / kept_words.FILE
    told, content, _ = path.read_text().split("\n")
    forged = content.replace('"approved"', '"withdrawn"')
    assert forged != content

    def signed(key: PrivateKey, text: str) -> str:
        body = {"type": "words", "digest": hashlib.sha256(text.encode()).hexdigest()}
        return f"{sign('words', body, key).to_json()}\n{text}\n"

    if how == "word":
        path.write_text(f"{told}\n{forged}\n")
    elif how == "key":
        path.write_text(signed(PrivateKey.generate(), forged))
    elif how == "cut":
        path.write_text(f"{told}\n{content[:-20]}")
    elif how == "garbage":
        path.write_bytes(b"\xff\x00")
    elif how == "large":
        monkeypatch.setattr(kept_words, "MAX_BYTES", len(content))
    elif how == "form":
        path.write_text(signed(server.key, '[["sha256:x",1]]'))
    else:
        path.unlink()
        path.mkdir()
    await standing.take_up(server.core)
    assert [held for key, held in standing._WORDS.all() if key == (server.key.public.key_id, kept.digest)] == []
    assert await words(server) == ["approved"]
    assert proofs == [kept.digest]
    await standing.put_by(server.core)  # and a place that cannot be written keeps no server from ending


async def test_without_a_file_a_server_begins_as_ever(server: Headquarters) -> None:
    assert list(kept_words.load(server.core)) == []
