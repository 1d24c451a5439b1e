"""The last tree head that was seen of each server, so that nothing of what was recorded by then can go unnoticed.

A server proves that its records now hold those of then unchanged. The first head is believed, if the key that signed it
is the one that is known of the server (:mod:`cli.known_servers`), or none is known yet; from then on another key, fewer
records or other ones are an error, and what was seen stays as it was. The
file is ``tree-heads.json`` in the state directory of the XDG rules, mode 0600: who could write it could make a server
look honest.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cli.invocation import Invocation
from cli.known_servers import KnownServers, servers_path
from cli.settings import read_private, write_private
from protocol.errors import ArgumentError, LedgerError, TrustError
from protocol.merkle import check_consistency, read_proof
from protocol.signing import PublicKey
from protocol.tree_heads import TreeHead, open_head

MAX_BYTES: Final = 1 << 20  # about two thousand servers


def heads_path(environment: Mapping[str, str] | None = None) -> Path:
    """Return the path of the file."""
    known = os.environ if environment is None else environment
    base = known.get("XDG_STATE_HOME") or str(Path(known.get("HOME") or Path.home()) / ".local" / "state")
    return Path(base) / "outrider" / "tree-heads.json"


@dataclass(frozen=True, slots=True)
class Seen:
    """A head that was proved, and the key that signed it."""

    key: PublicKey
    head: TreeHead


def check(invocation: Invocation, server: str, path: Path) -> tuple[TreeHead, int | None]:
    """Ask the server for its newest head, prove that it grew from the last one seen, and keep it.

    Returns:
        The head, and the size of the one that it was compared with; None if it is the first.

    Raises:
        LedgerError: The records of the last head are not all here unchanged.
        TrustError: Another key signs heads than before.
        ArgumentError: The file is damaged or open to others, or the server's answers have no good form.
    """
    heads = _read(path)
    before = heads.get(server)
    told = invocation.api.get("records/head")
    key = PublicKey.from_text(told.get("key"), where="the server's key")
    if invocation.context.is_demo and before is not None and before.key != key:
        before = None  # each demo has its own
    if before is not None and before.key != key:
        raise TrustError(
            f"the server signs tree heads with key {key.key_id[:16]}, it was {before.key.key_id[:16]} before; if"
            f" whoever runs it says so, sign in again: outrider login {server} --fingerprint {key.key_id}",
            reason="another_key",
        )
    if not invocation.context.is_demo:
        known = KnownServers(servers_path())
        if known.check(server, key):
            known.keep()
    head = open_head(told.get("note"), key)
    if before is not None:
        _check_growth(invocation, before.head, head)
    heads[server] = Seen(key, head)
    _write(path, heads)
    return head, None if before is None else before.head.size


def forget_others(server: str, key: PublicKey, path: Path) -> None:
    """Forget the head of a server that had another key: whoever named the new one knows that it was set up anew."""
    heads = _read(path)
    if server in heads and heads[server].key != key:
        del heads[server]
        _write(path, heads)


def _check_growth(invocation: Invocation, before: TreeHead, now: TreeHead) -> None:
    if now.size < before.size:
        raise LedgerError(
            f"the server shows {now.size} records, it had signed {before.size} before", sequence=now.size + 1
        )
    proof: list[bytes] = []
    if 0 < before.size < now.size:
        told = invocation.api.get("records/consistency", **{"from": before.size, "to": now.size})
        proof = read_proof(told.get("proof"))
    check_consistency(before.size, now.size, proof, before.root, now.root)


def _read(path: Path) -> dict[str, Seen]:
    if not path.exists():
        return {}
    try:
        value: Any = json.loads(read_private(path, MAX_BYTES))
        return {str(server): _seen(seen) for server, seen in value.items()}
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        raise ArgumentError("is damaged: it must hold tree heads as JSON", where=str(path)) from None


def _seen(value: Any) -> Seen:
    size, root = value["size"], bytes.fromhex(value["root"])
    if type(size) is not int or size < 0 or len(root) != 32:
        raise ValueError("not a head")
    return Seen(PublicKey.from_text(value["key"]), TreeHead(size, root))


def _write(path: Path, heads: Mapping[str, Seen]) -> None:
    plain = {
        server: {"key": seen.key.to_text(), "size": seen.head.size, "root": seen.head.root.hex()}
        for server, seen in heads.items()
    }
    write_private(path, json.dumps(plain, indent=1, sort_keys=True) + "\n")
