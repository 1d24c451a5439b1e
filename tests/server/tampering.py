"""Every way of changing a ledger that lies in a database, each with the place at which proving must find it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headquarters import Headquarters
from ledgers import add_row, stored

from protocol.ledger import Chain, decode_record, record_hash


def touched(blob: bytes, **changes: Any) -> bytes:
    """Return a record with other content, well-formed, as a forger who knows the form would make it."""
    record = decode_record(blob)
    chain = Chain(record.sequence, record.previous)
    fields = {
        name: value for name, value in record._asdict().items() if name not in ("version", "sequence", "previous")
    }
    return chain.append(**(fields | changes))[1]


def write(server: Headquarters, agent: str, sequence: int, blob: bytes) -> None:
    record = decode_record(blob)
    server.tamper(
        "UPDATE records SET blob = :blob, hash = :hash, call = :call WHERE agent = :agent AND sequence = :sequence",
        blob=blob, hash=record_hash(blob), agent=agent, sequence=sequence, call=record.call,
    )  # fmt: skip


def change(server: Headquarters, agent: str) -> str:
    blob = dict(stored(server, agent))[3]
    write(server, agent, 3, touched(blob, principal="innocent"))
    return "record 4 does not continue the chain"


def change_a_byte(server: Headquarters, agent: str) -> str:
    blob = bytearray(dict(stored(server, agent))[3])
    blob[-40] ^= 1
    server.tamper("UPDATE records SET blob = :blob WHERE agent = :a AND sequence = 3", blob=bytes(blob), a=agent)
    return "record 3"


def change_the_last(server: Headquarters, agent: str) -> str:
    sequence, blob = stored(server, agent)[-1]
    write(server, agent, sequence, touched(blob, principal="innocent"))
    return str(sequence)


def remove(server: Headquarters, agent: str) -> str:
    server.tamper("DELETE FROM records WHERE agent = :a AND sequence = 3", a=agent)
    return "record 3 does not continue the chain"


def remove_and_move_up(server: Headquarters, agent: str) -> str:
    rows = stored(server, agent)
    server.tamper("DELETE FROM records WHERE agent = :a AND sequence = 3", a=agent)
    for sequence, _ in rows[3:]:
        server.tamper(
            "UPDATE records SET sequence = :n WHERE agent = :a AND sequence = :s", n=sequence - 1, s=sequence, a=agent
        )
    return "record 3 does not continue the chain"


def remove_the_first(server: Headquarters, agent: str) -> str:
    server.tamper("DELETE FROM records WHERE agent = :a AND sequence = 1", a=agent)
    return "record 1 does not continue the chain"


def remove_the_last(server: Headquarters, agent: str) -> str:
    last = stored(server, agent)[-1][0]
    server.tamper("DELETE FROM records WHERE agent = :a AND sequence = :s", a=agent, s=last)
    return f"the ledger ends at {last - 1}"


def remove_all(server: Headquarters, agent: str) -> str:
    server.tamper("DELETE FROM records WHERE agent = :a", a=agent)
    return "the ledger ends at 0"


def swap(server: Headquarters, agent: str) -> str:
    rows = dict(stored(server, agent))
    write(server, agent, 3, rows[4])
    write(server, agent, 4, rows[3])
    return "record 3 does not continue the chain"


def insert_one(server: Headquarters, agent: str) -> str:
    """Between the second and the third; all that follow are numbered anew, but their bytes are what they were."""
    rows = stored(server, agent)
    for sequence, _ in reversed(rows[2:]):
        server.tamper(
            "UPDATE records SET sequence = :n WHERE agent = :a AND sequence = :s", n=sequence + 1, s=sequence, a=agent
        )
    add_row(server, agent, 3, Chain(3, record_hash(rows[1][1])).append(kind="event", time_us=1, mono_us=1)[1])
    return "record 4 does not continue the chain"


def insert_before_all(server: Headquarters, agent: str) -> str:
    """A sequence below the first is shown in lists as well."""
    add_row(server, agent, 0, Chain(1).append(kind="event", time_us=1, mono_us=1)[1])
    return "record 2 does not continue the chain"


def add_at_the_end(server: Headquarters, agent: str) -> str:
    sequence, blob = stored(server, agent)[-1]
    more = Chain(sequence + 1, record_hash(blob)).append(kind="event", time_us=1, mono_us=1)[1]
    add_row(server, agent, sequence + 1, more)
    return f"the ledger ends at {sequence + 1}"


def copy_one(server: Headquarters, agent: str) -> str:
    rows = stored(server, agent)
    write(server, agent, 4, rows[2][1])
    return "record 4 does not continue the chain"


def put(name: str, change: str, told: str) -> Callable[[Headquarters, str], str]:
    """Another value in the row of the third record."""

    def tamper(server: Headquarters, agent: str) -> str:
        server.tamper(f"UPDATE records SET {change} WHERE agent = :a AND sequence = 3", a=agent)
        return told

    tamper.__name__ = name
    return tamper


def hide(column: str, value: Any) -> Callable[[Headquarters, str], str]:
    """What a record is searched by is no part of the chain; changed, the record is not found any more."""

    def tamper(server: Headquarters, agent: str) -> str:
        server.tamper(f"UPDATE records SET {column} = :v WHERE agent = :a AND sequence = 3", v=value, a=agent)
        return f"the stored {column} of record 3"

    tamper.__name__ = f"hide_by_{column}"
    return tamper


TAMPERING = [
    change, change_a_byte, change_the_last, remove, remove_and_move_up, remove_the_first, remove_the_last, remove_all,
    swap, insert_one, insert_before_all, add_at_the_end, copy_one,
    put("write_garbage", "blob = x'c0ff'", "record 3 cannot be read"),
    put("write_text", "blob = 'text'", "in the place of record 3"),
    put("write_a_number", "blob = 7", "in the place of record 3"),
    put("write_the_hash_as_text", "hash = hex(hash)", "the stored hash of record 3"),
    put("change_the_hash", "hash = zeroblob(32)", "the stored hash of record 3"),
    hide("kind", "refusal"), hide("kind", b"event"), hide("call", "x"), hide("run", "x"), hide("time_us", 7),
]  # fmt: skip
