"""The tree over all records of all agents, kept as they come: its row of perfect trees, and some nodes for proofs.

- It grows in the transaction that adds records, in the order of their positions, whoever's they are.
- Of its nodes every eighth level is kept (``record_nodes``), which is one row for 256 records. Any other node is at
  most 256 hashes away, so a proof is made without going through the records.
- A head is signed every ``HEAD_INTERVAL_S`` and when the server ends, and kept (``record_heads``): a tree that is made
  anew over changed records would have to agree with all of them.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, bindparam, insert, select, update

from protocol.errors import InternalError, OutriderError
from protocol.merkle import Frontier
from protocol.signing import PrivateKey
from protocol.tree_heads import TreeHead, record_leaf, sign_head
from server import clock
from server.store.prepared import Prepared
from server.store.tables import meta, record_heads, record_nodes, records

STRIDE: Final = 8  # levels between two that are kept
MAX_AT_ONCE: Final = 50_000  # records that one command takes in
_KEY: Final = "record_tree"  # in the table meta: size, position of the newest record in it, and its row
_FIND = Prepared(select(meta.c.value).where(meta.c.key == _KEY))
_MOVE = Prepared(update(meta).where(meta.c.key == _KEY).values(value=bindparam("row")))
_NEW = Prepared(
    select(records.c.position, records.c.agent, records.c.hash)
    .where(records.c.position > bindparam("behind"))
    .order_by(records.c.position)
    .limit(MAX_AT_ONCE)
)
_KEEP = Prepared(insert(record_nodes), "level", "place", "hash")


def held(connection: Connection) -> tuple[Frontier, int]:
    """Return the tree, and the position of the newest record in it."""
    row = _FIND.first(connection)
    if row is None:
        return Frontier(), 0
    try:
        size, position, *hashes = row.value.split()
        return Frontier(int(size), [bytes.fromhex(each) for each in hashes]), int(position)
    except (AttributeError, ValueError, OutriderError) as error:
        raise InternalError("what is kept of the tree of records is damaged", detail=repr(error)) from None


def grow(connection: Connection) -> int:
    """Take in the records that are not in the tree yet, at most ``MAX_AT_ONCE``; return how many there were."""
    frontier, position = held(connection)
    rows = _NEW.all(connection, behind=position)
    if not rows:
        return 0
    kept = []
    for row in rows:
        for level, place, digest in frontier.append(record_leaf(row.agent, bytes(row.hash))):
            if level % STRIDE == 0:
                kept.append({"level": level, "place": place, "hash": digest})
    if kept:
        _KEEP.add(connection, kept)
    told = " ".join([str(frontier.size), str(rows[-1].position), *(each.hex() for each in frontier.row)])
    if not _MOVE.change(connection, row=told):
        connection.execute(insert(meta).values(key=_KEY, value=told))
    return len(rows)


def sign_newest(connection: Connection, key: PrivateKey) -> None:
    """Sign and keep the head of the tree, unless it is kept already."""
    frontier, _ = held(connection)
    known = connection.execute(select(record_heads.c.size).where(record_heads.c.size == frontier.size)).first()
    if frontier.size and known is None:
        note = sign_head(TreeHead(frontier.size, frontier.root()), key)
        connection.execute(insert(record_heads).values(size=frontier.size, note=note, signed_us=clock.now_us()))
