"""One person wants to be two: the author approves, by another name, another key, or another's hand."""

from __future__ import annotations

from dataclasses import replace

from siege import NOW, Siege, approved, script

from protocol.timestamps import stamp


async def test_a_second_key_of_the_same_person(siege: Siege) -> None:
    hers = siege.world.member("bob") | {"name": "ann"}
    await siege.roster(2, keys=[siege.world.member("ann"), hers])
    assert await siege.attempt(siege.offer(approved(siege.world, script()))) == "self_approval"


async def test_a_key_that_was_revoked_is_still_that_persons(siege: Siege) -> None:
    """An author whose old key is revoked does not become a stranger to what it signed."""
    entry = approved(siege.world, script())
    both = replace(entry, publication=siege.world.publication("ann", "eve", digest=entry.bundle.digest))
    revoked = siege.world.member("ann", revoked=stamp(NOW))
    await siege.roster(2, keys=[revoked, siege.world.member("bob") | {"name": "ann"}, siege.world.member("eve")])
    assert await siege.attempt(siege.offer(both)) == "self_approval"


async def test_two_names_of_one_key(siege: Siege) -> None:
    twice = [siege.world.member("ann"), siege.world.member("ann") | {"name": "bob"}]
    assert await siege.roster(2, keys=twice) == "invalid_argument"


async def test_two_spellings_of_one_key(siege: Siege) -> None:
    """Base64 has bits that nobody reads; the key is what they stand for."""
    text = siege.world.key("ann").public.to_text()
    other = next(text[:-2] + letter + "=" for letter in LETTERS if same(text, text[:-2] + letter + "="))
    twice = [siege.world.member("ann"), siege.world.member("ann") | {"name": "bob", "key": other}]
    assert await siege.roster(2, keys=twice) == "invalid_argument"


async def test_two_names_that_look_alike(siege: Siege) -> None:
    for name in ("Ann", "ann ", "ann\u200b", "a\u0430nn".replace("\u0430", "\u00ad")):
        keys = [siege.world.member("ann"), siege.world.member("bob") | {"name": name}]
        assert await siege.roster(2, keys=keys) == "invalid_argument", name


async def test_who_signed_the_publication_too(siege: Siege) -> None:
    entry = approved(siege.world, script())
    both = replace(entry, publication=siege.world.publication("ann", "bob", digest=entry.bundle.digest))
    assert await siege.attempt(siege.offer(both)) == "self_approval"


async def test_the_author_among_the_signers_of_an_approval(siege: Siege) -> None:
    entry = approved(siege.world, script())
    both = replace(entry, approvals=(siege.world.approval("ann", "bob", digest=entry.bundle.digest),))
    assert await siege.attempt(siege.offer(both)) == "self_approval"


LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def same(one: str, other: str) -> bool:
    import base64

    raw = [base64.b64decode(text.removeprefix("ed25519:")) for text in (one, other)]
    return one != other and raw[0] == raw[1]
