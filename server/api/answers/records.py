"""Answers about records, and proofs that they are whole."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from server.api.answers.forms import Answer, Moment


class Record(Answer):
    """A record, as its bytes say."""

    agent: str
    agent_id: str
    sequence: int
    hash: str
    previous: str
    time: Moment
    time_us: int
    mono_us: int
    session: str
    run: str
    principal: str
    kind: str
    call: str
    arguments: dict[str, Any]
    verdict: str
    rule: str
    outcome: str
    duration_us: int
    bytes: int
    data: dict[str, Any]


class ProvedLedger(Answer):
    """What proving one ledger found."""

    agent: str
    agent_id: str
    first: int | None = Field(description="Sequence of the first record that was proved; null if there is none.")
    records: int
    head: str | None = Field(description="Hash of the newest record.")
    checkpoints: int
    error: str | None = Field(description="What is wrong and where; null if nothing is.")


class ProvedTree(Answer):
    """What proving the tree over all records found."""

    records: int
    heads: int = Field(description="Signed heads that the records agree with.")
    error: str | None = Field(description="What is wrong and where; null if nothing is.")


class Proof(Answer):
    """What proving ledgers found."""

    ok: bool
    since: Moment | None = Field(description="Older records were not proved; null if all were.")
    agents: list[ProvedLedger]
    tree: ProvedTree | None = Field(description="Of the tree over all records; null where one ledger was asked for.")


class TreeHead(Answer):
    """The head of the tree over all records, as it is now."""

    size: int = Field(description="How many records of all agents there are.")
    root: str
    origin: str
    key: str = Field(description="Whose signature the note has: the server's.")
    note: str = Field(description="The head as a signed note (C2SP tlog-checkpoint).")


class ConsistencyProof(Answer):
    """That the tree of ``second`` records holds that of ``first`` unchanged."""

    first: int
    second: int
    proof: list[str] = Field(description="Hashes as of RFC 9162, in hexadecimal.")


class InclusionProof(Answer):
    """That a record is in the tree of ``size`` records."""

    agent_id: str
    sequence: int
    hash: str = Field(description="Of the record's exact bytes; the leaf binds it to the agent's id.")
    index: int = Field(description="Of its leaf, from 0.")
    size: int
    proof: list[str] = Field(description="Hashes as of RFC 9162, in hexadecimal.")
