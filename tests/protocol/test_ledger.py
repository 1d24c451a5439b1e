"""The ledger: whatever is changed, taken out or moved shows at its sequence, and no secret gets in."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import ledger, limits
from protocol.errors import ArgumentError, LedgerError, ProtocolError, TooLargeError, TrustError
from protocol.frames import encode
from protocol.ledger import (
    GENESIS,
    KINDS,
    Chain,
    bound_arguments,
    decode_record,
    encode_record,
    make_checkpoint,
    record_hash,
    verify_chain,
    verify_checkpoint,
)
from protocol.signing import PrivateKey, sign

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def chain_of(count: int) -> list[bytes]:
    chain = Chain()
    return [
        chain.append(kind="call", time_us=n, mono_us=n, call="fs.stat", arguments={"path": f"/{n}"}, verdict="allow")[1]
        for n in range(count)
    ]


def broken_at(blobs: list[bytes], first: int = 1, previous: bytes = GENESIS) -> int:
    with pytest.raises(LedgerError) as caught:
        verify_chain(blobs, first, previous)
    return caught.value.sequence


def test_a_whole_chain_holds() -> None:
    blobs = chain_of(5)
    assert verify_chain(blobs, 1, GENESIS) == (6, record_hash(blobs[-1]))
    assert verify_chain([], 1, GENESIS) == (1, GENESIS)
    assert verify_chain(blobs[2:], 3, record_hash(blobs[1])) == (6, record_hash(blobs[-1])), "and goes on anywhere"


@settings(max_examples=150)
@given(st.integers(2, 7), st.data())
def test_a_changed_byte_shows(count: int, data: st.DataObject) -> None:
    """At the record itself if it can no longer be read, else at the one that no longer follows from it."""
    blobs = chain_of(count)
    which = data.draw(st.integers(0, count - 1))
    touched = bytearray(blobs[which])
    touched[data.draw(st.integers(0, len(touched) - 1))] ^= data.draw(st.integers(1, 255))
    blobs[which] = bytes(touched)
    if which == count - 1:  # nothing follows: the head that was signed shows it
        try:
            head = verify_chain(blobs, 1, GENESIS)[1]
        except LedgerError:
            return
        assert head != record_hash(chain_of(count)[-1])
        return
    assert broken_at(blobs) in (which + 1, which + 2)


@settings(max_examples=60)
@given(st.integers(2, 7), st.data())
def test_a_missing_record_shows_at_its_sequence(count: int, data: st.DataObject) -> None:
    blobs = chain_of(count)
    gone = data.draw(st.integers(0, count - 2))
    del blobs[gone]
    assert broken_at(blobs) == gone + 1


@settings(max_examples=60)
@given(st.integers(2, 7), st.data())
def test_two_swapped_records_show_at_the_first(count: int, data: st.DataObject) -> None:
    blobs = chain_of(count)
    one = data.draw(st.integers(0, count - 2))
    two = data.draw(st.integers(one + 1, count - 1))
    blobs[one], blobs[two] = blobs[two], blobs[one]
    assert broken_at(blobs) == one + 1


@settings(max_examples=60)
@given(st.integers(2, 7), st.data())
def test_a_record_written_anew_shows_at_the_next(count: int, data: st.DataObject) -> None:
    """A forger who knows the form makes one that can be read and follows; its successor does not."""
    blobs = chain_of(count)
    which = data.draw(st.integers(0, count - 2))
    blobs[which] = encode_record(decode_record(blobs[which])._replace(arguments={"path": "/innocent"}))
    assert broken_at(blobs) == which + 2


def test_a_record_told_twice_shows() -> None:
    blobs = chain_of(3)
    assert broken_at([blobs[0], blobs[0], *blobs[1:]]) == 2


def test_a_chain_of_another_agent_does_not_go_on_from_this_one() -> None:
    other = Chain()
    other.append(kind="event", time_us=9, mono_us=9)
    _, blob, _ = other.append(kind="event", time_us=9, mono_us=9)
    assert broken_at([chain_of(1)[0], blob]) == 2


def test_the_chain_moves_on_only_if_the_record_was_made() -> None:
    """A hole in the sequence could not be told from a record that was taken out."""
    chain = Chain()
    with pytest.raises(ArgumentError):
        chain.append(kind="rumour", time_us=1, mono_us=1)
    with pytest.raises(TooLargeError):
        chain.append(kind="event", time_us=1, mono_us=1, data={"x": bytes(limits.MAX_RECORD_BYTES)})
    with pytest.raises(ProtocolError):
        chain.append(kind="event", time_us=1, mono_us=1, data={"x": math.nan})
    assert (chain.next_sequence, chain.previous) == (1, GENESIS)
    sequence, blob, digest = chain.append(kind="event", time_us=1, mono_us=1)
    assert (sequence, digest, chain.previous) == (1, hashlib.sha256(blob).digest(), digest)


# the form of a record -------------------------------------------------------------------------------------------------


def fields() -> list[Any]:
    return list(decode_record(chain_of(1)[0]))


def test_a_record_is_the_bytes_that_were_stored() -> None:
    blob = chain_of(1)[0]
    assert encode_record(decode_record(blob)) == blob == encode(fields())


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_is_read(kind: str) -> None:
    assert decode_record(Chain().append(kind=kind, time_us=1, mono_us=1)[1]).kind == kind


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0, 2), (0, "1"), (0, True), (1, 0), (1, limits.MAX_SEQUENCE + 1), (2, 1.0), (4, None), (4, b"s"),
        (7, "rumour"), (9, []), (9, None), (14, -0.5), (15, "x"), (16, bytes(31)), (16, bytes(33)), (16, "x" * 32),
    ],
)  # fmt: skip
def test_a_record_of_another_form_is_refused(at: int, value: Any) -> None:
    values = fields()
    values[at] = value
    with pytest.raises(ProtocolError):
        decode_record(encode(values))


@pytest.mark.parametrize("blob", [b"", b"\xc0", b"\x90", encode({"a": 1}), encode([1] * 16), encode([1] * 18)])
def test_what_is_no_record_is_refused(blob: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_record(blob)


@settings(max_examples=80)
@given(st.binary(max_size=100))
def test_hostile_bytes_break_the_chain_at_their_place(blob: bytes) -> None:
    assert broken_at([*chain_of(2), blob]) == 3


def test_a_record_is_bounded() -> None:
    with pytest.raises(ProtocolError):
        decode_record(encode([bytes(limits.MAX_RECORD_BYTES)]))


# arguments ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "password", "Password", "PASSWD", "secret", "token", "authorization", "Cookie", "api_key", "private_key",
        "db_password", "join-token", "client_secret", "API-KEY", "x-api-key", "apikey", "ssh_private_key",
        "Proxy-Authorization", "Set-Cookie",
    ],
)  # fmt: skip
def test_secrets_are_not_written(name: str) -> None:
    """The ledger is kept for ever and read by many."""
    assert bound_arguments({name: "hunter2"}) == {name: "[redacted]"}
    for nested in ({"a": {name: "hunter2"}}, {"a": [{name: "hunter2"}]}, {"a": [[{"b": {name: "hunter2"}}]]}):
        assert "hunter2" not in str(bound_arguments(nested))


@pytest.mark.parametrize("name", ["path", "tokens", "token_count", "secretary", "passwords_file", "cookies"])
def test_what_only_sounds_like_a_secret_is_written(name: str) -> None:
    assert bound_arguments({name: "x"}) == {name: "x"}


@pytest.mark.parametrize("value", ["x" * 1025, b"x" * 1025, "ä" * 513])
def test_what_is_long_is_cut_and_told_by_its_digest(value: Any) -> None:
    raw = value.encode() if isinstance(value, str) else value
    told = bound_arguments({"a": value})["a"]
    assert (told["bytes"], told["sha256"]) == (len(raw), hashlib.sha256(raw).hexdigest())
    assert len(told["cut"]) <= 128


@pytest.mark.parametrize("value", ["x" * 1024, b"x" * 1024, None, True, -5, 0.5, [1, "a", None], {"a": {"b": 1}}])
def test_what_is_short_is_written_as_it_is(value: Any) -> None:
    assert bound_arguments({"a": value}) == {"a": value}


def test_an_undecodable_file_name_keeps_its_bytes_visible() -> None:
    assert bound_arguments({"path": "/a\udcff"}) == {"path": "/a\\xff"}


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


hostile = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("\ud800") | st.just({1})
    | st.binary(max_size=5) | st.just("x" * 2000) | st.just(bytes(2000)),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=3) | st.just("\ud800") | st.integers(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=150)
@given(st.dictionaries(st.text(max_size=5) | st.just("\ud800"), hostile, max_size=4))
def test_whatever_the_arguments_are_the_record_can_be_written_and_read(arguments: dict[str, Any]) -> None:
    """A call whose record cannot be written is refused: an odd argument must not be a way to stop all calls."""
    blob = Chain().append(kind="call", time_us=1, mono_us=1, arguments=bound_arguments(arguments))[1]
    assert decode_record(blob).kind == "call"


@pytest.mark.parametrize("depth", [1, 14, 15, 16, 40])
def test_arguments_of_any_depth_can_be_written(depth: int) -> None:
    blob = Chain().append(kind="call", time_us=1, mono_us=1, arguments=bound_arguments({"a": nested(depth)}))[1]
    written = decode_record(blob).arguments["a"]
    assert (written == nested(depth)) is (depth <= 14)
    assert ("cannot be written" in str(written)) is (depth > 14)


# checkpoints ----------------------------------------------------------------------------------------------------------

KEY = PrivateKey.generate()


def test_a_checkpoint_says_where_the_chain_ends() -> None:
    envelope = make_checkpoint(agent="web-1", sequence=7, hash=b"h" * 32, issued=NOW, key=KEY)
    assert verify_checkpoint(envelope, KEY.public, "web-1") == (7, b"h" * 32)


def test_a_checkpoint_of_another_agent_or_key_is_refused() -> None:
    """Else the head of a quiet host would cover for one whose records were taken out."""
    envelope = make_checkpoint(agent="web-1", sequence=7, hash=b"h" * 32, issued=NOW, key=KEY)
    with pytest.raises(ArgumentError):
        verify_checkpoint(envelope, KEY.public, "web-2")
    with pytest.raises(TrustError):
        verify_checkpoint(envelope, PrivateKey.generate().public, "web-1")
    with pytest.raises(TrustError):
        verify_checkpoint(replace(envelope, payload=envelope.payload + b" "), KEY.public, "web-1")


@pytest.mark.parametrize("change", [{"sequence": True}, {"sequence": "7"}, {"hash": "00"}, {"hash": None}, {"hash": 7}])
def test_a_checkpoint_of_another_form_is_refused(change: dict[str, Any]) -> None:
    body = {"type": "checkpoint", "agent": "web-1", "sequence": 7, "hash": "0" * 64, "issued": "x"} | change
    with pytest.raises(ArgumentError):
        verify_checkpoint(sign("checkpoint", body, KEY), KEY.public, "web-1")


def test_a_name_of_any_length_is_looked_at_and_only_short_ones_are_remembered() -> None:
    """Scripts choose the keys of maps: what they make up must neither fill the memory nor slip through."""
    long = "x" * 100 + "_password"
    for _ in range(2):
        assert bound_arguments({long: "hunter2", "token": "hunter2", "x" * 100: "shown"}) == {
            long: "[redacted]", "token": "[redacted]", "x" * 100: "shown",
        }  # fmt: skip
    assert ledger._is_known_secret.cache_info().maxsize == 1024
    before = ledger._is_known_secret.cache_info().currsize
    bound_arguments({f"{number:0100}": 1 for number in range(100)})
    assert ledger._is_known_secret.cache_info().currsize == before
