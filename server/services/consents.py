"""Answers of approvers to what the owners of hosts are asked.

- A question is the host's own; it tells of it, and tells its end.
- An approver may say yes only where the host's ceiling accepts that from a server; the host checks it again. Nobody
  answers what he asks himself, and every answer is on record before it is sent.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from protocol.errors import ArgumentError, DeniedError
from server import limits
from server.access import APPROVE, Caller
from server.core import Core
from server.questions import Question
from server.services import agents as agent_service


async def asked(core: Core, agent: str, body: dict[str, Any]) -> None:
    """A host tells of a question."""
    if not body["asked_us"] < body["expires_us"]:
        raise ArgumentError("a question with an impossible time", parameter="expires_us")
    row = await core.database.read(lambda connection: agent_service.find(connection, agent))
    core.consents.add(Question(agent, row.name, body))


def may_answer(question: Question, caller: Caller) -> bool:
    """Tell whether somebody may answer a question at all: an approver, and never who asks himself."""
    return caller.may(APPROVE) and question.body["principal"] != caller.principal


async def answer(core: Core, identity: str, *, granted: bool, reason: str, caller: Caller) -> dict[str, Any]:
    """Answer a question in an approver's name, and return it.

    Raises:
        NotFoundError: It does not wait any more.
        DeniedError: It is one's own, or the host's owner alone may say yes.
        OutriderError: The host refuses; says why.
    """
    question = core.consents.find(identity)
    if question.body["principal"] == caller.principal:
        raise DeniedError("nobody answers what he asks himself", rule="consent: never one's own")
    if granted and not question.body["may_server"]:
        raise DeniedError(
            f"on {question.agent_name} only the host's owner may say yes (outrider-agent consent grant {identity})",
            rule="ceiling.yaml: accept_server_word",
        )

    def store(connection: Connection) -> None:
        core.ledger.append(
            connection, call="consent.answer", principal=caller.principal,
            arguments={
                "question": identity, "agent": question.agent_name, "text": question.body["text"], "granted": granted,
                "session": question.body["session"], "reason": reason,
            },
        )  # fmt: skip

    await core.database.write(store)
    told = {"question": identity, "granted": granted, "by": caller.principal}
    await core.links.get(question.agent).request("consent.answer", told, limits.REQUEST_TIMEOUT_S)
    core.consents.drop(question.agent, identity)
    return question.view() | {"may_answer": True, "granted": granted}
