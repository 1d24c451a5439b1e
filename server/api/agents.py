"""``/agents`` and ``/invites``: the hosts."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy import Connection, select

from server.access import Caller
from server.api.asking import Admin, CoreOf, Reader, about
from server.api.bodies import AgentChange, Freeze, NewInvite
from server.api.pages import Cursor, Limit, Page, slice_of
from server.api.repeats import once
from server.core import Core
from server.limits import DEFAULT_PAGE
from server.services import access_grants, agents, awaited, desired, live, runs, schedule_room
from server.services.targets import Target
from server.store.tables import agents as table

router = APIRouter(tags=["agents"])


@router.get("/agents")
async def ls(
    core: CoreOf, _: Reader, limit: Limit = DEFAULT_PAGE, cursor: Cursor = None, label: str | None = None,
    name: str | None = None, target: str | None = None,
) -> Page:  # fmt: skip
    """List hosts by name: all, or those that every filter given means."""
    filters = [Target.parse(text) for text in (label, name, target) if text is not None]

    def is_meant(row: Any) -> bool:
        return all(each.matches(row.id, row.name, row.labels) for each in filters)

    def find(connection: Connection) -> Page:
        # Of those that are not on the page not more is read than tells whether they are meant: facts are large.
        rows = connection.execute(agents.names_and_labels())
        meant = ({"id": row.id, "name": row.name} for row in rows if is_meant(row))
        found = slice_of(meant, lambda item: str(item["name"]), limit, cursor)
        shown = connection.execute(select(table).where(table.c.id.in_([item["id"] for item in found.items])))
        return Page(items=[agents.view(core, row) for row in sorted(shown, key=lambda row: row.name)], next=found.next)

    return await core.database.read(find)


@router.get("/agents/{reference}")
async def show(core: CoreOf, _: Reader, reference: str) -> dict[str, Any]:
    """Show one host."""
    return await core.database.read(lambda connection: agents.view(core, agents.find(connection, reference)))


@router.patch("/agents/{reference}")
async def change(request: Request, core: CoreOf, caller: Admin, reference: str, body: AgentChange) -> dict[str, Any]:
    """Rename or relabel a host; schedules follow at once, and sessions whose grant is not for it any more end."""
    about(request, agent=reference)

    def store(connection: Connection) -> dict[str, Any]:
        row = agents.change(connection, reference, body.name, body.labels)
        schedule_room.check_host(connection, row)
        _note(core, connection, "agent.change", caller, row.id, name=body.name, labels=body.labels)
        return agents.view(core, row)

    answer = await core.database.write(store)
    desired.push_all(core)
    core.access_changed.ring()  # a grant may be for this host no more
    await access_grants.end_unfounded(core, answer["id"])
    return answer


@router.delete("/agents/{reference}", status_code=204)
async def remove(request: Request, core: CoreOf, caller: Admin, reference: str) -> Response:
    """Remove a host: its key is accepted no more. Its records stay; what goes on there is over, as far as is known."""
    about(request, agent=reference)

    def store(connection: Connection) -> tuple[str, list[str]]:
        row = agents.remove(connection, reference)
        awaited.host_removed(core, connection, row.id)
        over = runs.host_removed(connection, row.id) + live.host_removed(connection, row.id)
        _note(core, connection, "agent.remove", caller, row.id, name=row.name)
        return str(row.id), over

    identity, over = await core.database.write(store)
    for each in over:
        core.endings.ended(each)
    link = core.links.find(identity)
    if link is not None:
        await link.close(4403, "this agent was removed")
    return Response(status_code=204)


@router.post("/agents/{reference}/freeze")
async def freeze(request: Request, core: CoreOf, caller: Admin, reference: str, body: Freeze) -> Response:
    """Stop everything on a host until it is unfrozen."""
    about(request, agent=reference)

    def store(connection: Connection) -> dict[str, Any]:
        row = agents.freeze(connection, reference, body.frozen, body.reason)
        _note(core, connection, "agent.freeze", caller, row.id, frozen=body.frozen, reason=body.reason)
        return agents.view(core, row)

    async def work() -> dict[str, Any]:
        answer = await core.database.write(store)
        desired.push_soon(core, answer["id"])
        return answer

    return await once(request, core, caller, work)


@router.post("/invites", status_code=201)
async def invite(request: Request, core: CoreOf, caller: Admin, body: NewInvite) -> dict[str, Any]:
    """Make a one-time join token. It is shown once, so its answer is not kept for a repeated request."""

    def store(connection: Connection) -> dict[str, Any]:
        made = agents.invite(core, connection, name=body.name, labels=body.labels, ttl_s=body.ttl_s)
        # The name of this argument must not read like a secret's: the id of an invitation is none.
        core.ledger.append(
            connection, call="agent.invite", principal=caller.principal,
            arguments={"invite": made["id"], "name": body.name, "labels": body.labels, "ttl_s": body.ttl_s},
        )  # fmt: skip
        return dict(made)

    return await core.database.write(store)


def _note(core: Core, connection: Connection, call: str, caller: Caller, agent: str, **what: Any) -> None:
    core.ledger.append(connection, call=call, principal=caller.principal, arguments={"agent": agent, **what})
