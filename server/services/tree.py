"""Heads and proofs of the tree over all records, and the proof that it is the tree of the records that are here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, select, type_coerce
from sqlalchemy.types import NullType

from protocol.errors import ArgumentError, LedgerError, OutriderError
from protocol.merkle import HASH_BYTES, Frontier, Range, consistency_ranges, fold, inclusion_ranges, perfect
from protocol.tree_heads import TreeHead, open_head, origin_of, record_leaf, sign_head
from server.core import Core
from server.record_tree import STRIDE, held
from server.services.records import ledger_of
from server.store.tables import record_heads, record_nodes, records

_PAGE = 10_000  # records in memory at once while the tree is made anew
_MAX_AGENT_CHARACTERS = 1_000
#: Without what the driver would make of a value of another type than its column has, which is to fail.
_LEAVES = select(
    records.c.position,
    *(type_coerce(column, NullType()).label(column.name) for column in (records.c.agent, records.c.hash)),
)
_NODES = select(type_coerce(record_nodes.c.hash, NullType()))


def head(core: Core, connection: Connection) -> dict[str, Any]:
    """Return the newest head, signed now."""
    frontier, _ = held(connection)
    root = frontier.root()
    return {
        "size": frontier.size, "root": root.hex(), "origin": origin_of(core.key.public),
        "key": core.key.public.to_text(), "note": sign_head(TreeHead(frontier.size, root), core.key),
    }  # fmt: skip


def consistency(connection: Connection, first: int, second: int) -> dict[str, Any]:
    """Return the proof that the tree of ``second`` records holds that of ``first`` unchanged.

    Raises:
        ArgumentError: There are no such trees.
        LedgerError: A record or node that it needs is not here.
    """
    _check_size(connection, second)
    ranges = consistency_ranges(first, second)
    return {"first": first, "second": second, "proof": _hashes(connection, ranges)}


def inclusion(connection: Connection, reference: str, sequence: int, size: int | None) -> dict[str, Any]:
    """Return the proof that a record is in the tree of ``size`` records, the newest one if none is named.

    Raises:
        NotFoundError: There is no such agent.
        ArgumentError: The record is not in that tree.
        LedgerError: A record or node that it needs is not here.
    """
    agent = ledger_of(connection, reference)
    size = held(connection)[0].size if size is None else size
    _check_size(connection, size)
    row = connection.execute(
        select(records.c.position, records.c.hash).where(records.c.agent == agent, records.c.sequence == sequence)
    ).first()
    if row is None or row.position > size:
        raise ArgumentError(f"record {sequence} of {reference} is not in the tree of {size}", parameter="sequence")
    ranges = inclusion_ranges(row.position - 1, size)
    return {
        "agent_id": agent, "sequence": sequence, "hash": bytes(row.hash).hex(), "index": row.position - 1,
        "size": size, "proof": _hashes(connection, ranges),
    }  # fmt: skip


def _check_size(connection: Connection, size: int) -> None:
    newest = held(connection)[0].size
    if not 0 < size <= newest:
        raise ArgumentError(f"there is no tree of {size} records; the newest has {newest}", parameter="size")


def _hashes(connection: Connection, ranges: Sequence[Range]) -> list[str]:
    return [
        fold([_perfect(connection, level, place) for level, place in perfect(start, end)]).hex()
        for start, end in ranges
    ]  # fmt: skip


def _perfect(connection: Connection, level: int, place: int) -> bytes:
    """Return the root of a perfect tree, from the nearest level below it that is kept."""
    below = level - level % STRIDE
    count = 1 << (level - below)
    first = place * count
    if below:
        query = _NODES.where(
            record_nodes.c.level == below, record_nodes.c.place >= first, record_nodes.c.place < first + count
        )
        found: list[Any] = list(connection.execute(query.order_by(record_nodes.c.place)).scalars())
    else:
        leaves = _LEAVES.where(records.c.position > first, records.c.position <= first + count)
        found = [_leaf(row) for row in connection.execute(leaves.order_by(records.c.position))]
    if len(found) != count or not all(isinstance(each, bytes) and len(each) == HASH_BYTES for each in found):
        raise LedgerError("records are missing in the tree", sequence=(first << below) + 1)
    frontier = Frontier()
    for each in found:
        frontier.append(each)
    return frontier.root()


def _leaf(row: Row[Any]) -> bytes:
    """Return the leaf of a record as it is stored. SQLite keeps whatever somebody writes into a column, of any type."""
    agent, digest = row.agent, row.hash
    if not isinstance(agent, str) or len(agent) > _MAX_AGENT_CHARACTERS or not isinstance(digest, bytes):
        raise LedgerError(f"what is stored of record {row.position} of all is none", sequence=row.position)
    return record_leaf(agent, digest)


# proving -------------------------------------------------------------------------------------------------------------


def verify(core: Core, connection: Connection) -> dict[str, Any]:
    """Make the tree anew over the records that are here, and compare it with all that was kept and signed of it.

    That a record's hash is that of its bytes is proved with its chain.
    """
    told: dict[str, Any] = {"records": 0, "heads": 0, "error": None}
    try:
        _prove(core, connection, told)
    except OutriderError as error:
        told["error"] = error.message
    return told


def _prove(core: Core, connection: Connection, told: dict[str, Any]) -> None:
    frontier, nodes, whole = Frontier(), _Nodes(connection), 0
    heads = {row.size: row.note for row in connection.execute(select(record_heads))}
    position = 0
    query = _LEAVES.order_by(records.c.position).limit(_PAGE)
    while rows := connection.execute(query.where(records.c.position > position)).all():
        for row in rows:
            position = row.position
            if position != frontier.size + 1:
                raise LedgerError(f"record {frontier.size + 1} of all is missing", sequence=frontier.size + 1)
            for level, place, digest in frontier.append(_leaf(row)):
                nodes.check(level, place, digest)
            note = heads.pop(frontier.size, None)
            if note is not None:
                if open_head(note, core.key.public) != TreeHead(frontier.size, frontier.root()):
                    raise LedgerError(
                        f"of the first {frontier.size} records, not all are those that were signed;"
                        f" up to {whole} they are",
                        sequence=whole + 1,
                    )
                whole = frontier.size
                told["heads"] += 1
        told["records"] = frontier.size
    kept, _ = held(connection)
    if heads or frontier.size < kept.size:
        raise LedgerError(
            f"there are {frontier.size} records, {max([kept.size, *heads])} were signed", sequence=frontier.size + 1
        )
    if kept != frontier:
        raise LedgerError(
            f"the {frontier.size} records are not those that the tree was made of; up to {whole} they are",
            sequence=whole + 1,
        )


class _Nodes:
    """The nodes that are kept, compared one by one with those that the records make."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def check(self, level: int, place: int, digest: bytes) -> None:
        """Return if a node is kept as it should be; LedgerError if not."""
        if level % STRIDE:
            return
        query = _NODES.where(record_nodes.c.level == level, record_nodes.c.place == place)
        if self._connection.execute(query).scalar() != digest:
            raise LedgerError(
                f"records {(place << level) + 1} to {(place + 1) << level} are not those that the tree was made of",
                sequence=(place << level) + 1,
            )
