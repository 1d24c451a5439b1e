"""Trials through the API: who may ask for one, by which order, of what; and that each stays with its review."""

from __future__ import annotations

from typing import Any

from headquarters import Headquarters, expect, plain, refused, script
from world import NOW

from protocol.bundle import Bundle
from protocol.signing import sign
from protocol.timestamps import stamp


def order(server: Headquarters, bundle: Bundle, **changes: Any) -> dict[str, Any]:
    body = {
        "type": "order", "action": "run", "agents": ["a"], "digest": bundle.digest, "parameters": {}, "dry_run": True,
        "issued": stamp(NOW), "expires": stamp(NOW), "nonce": "n1",
    } | changes  # fmt: skip
    return plain(sign("order", body, server.world.key("bob")))


async def published(server: Headquarters, bundle: Bundle) -> str:
    return f"/reviews/{expect(await server.publish(bundle), 201)['review']}/try"


async def test_who_and_by_which_order(server: Headquarters) -> None:
    bundle = script("return 1\n")
    path = await published(server, bundle)
    asked = {"target": "web-1", "order": order(server, bundle)}
    for role in ("viewer", "author", "operator", "auditor"):
        refused(await server.ask("POST", path, asked, role=role), 403, "denied")
    for wrong in ({"dry_run": False}, {"dry_run": 1}, {"digest": "sha256:" + "00" * 32}):
        answer = await server.ask("POST", path, asked | {"order": order(server, bundle, **wrong)}, role="reviewer")
        refused(answer, 422, "invalid_argument")
    refused(await server.ask("POST", path, {"target": "web-1"}, role="reviewer"), 422, "invalid_argument")


async def test_what_was_rejected_or_withdrawn_is_tried_no_more(server: Headquarters) -> None:
    bundle = script("return 1\n")
    path = await published(server, bundle)
    asked = {"target": "web-1", "order": order(server, bundle)}
    await server.post(path.replace("/try", "/reject"), {"reason": "no"}, role="reviewer")
    refused(await server.ask("POST", path, asked, role="reviewer"), 409, "conflict")
    other = script("return 2\n", version="1.1.0")
    path = await published(server, other)
    expect(await server.withdraw(other), 200)
    answer = await server.ask("POST", path, asked | {"order": order(server, other)}, role="reviewer")
    refused(answer, 403, "untrusted", reason="withdrawn")


async def test_one_that_no_host_took_is_in_the_history_and_on_record(server: Headquarters) -> None:
    """Of a group of hosts that are all away each has its refused run; one host by name is refused before it is one."""
    await server.add_agent("web-1", role="mail")
    bundle = script("return 1\n")
    path = await published(server, bundle)
    asked = {"target": "-l role=mail", "order": order(server, bundle), "reason": "CHG-7", "wait_s": 5}
    (run,) = (await server.post(path, asked, 201, role="reviewer"))["runs"]
    assert run["status"] == "refused"
    event = (await server.get(path.removesuffix("/try")))["history"][0]
    assert (event["what"], event["by"], event["host"], event["run"], event["status"], event["reason"]) == (
        "tried", "reviewer", "web-1", run["id"], "refused", "CHG-7",
    )  # fmt: skip
    told = [record for record in await server.records() if record["call"] == "review.try"]
    assert [(record["principal"], record["arguments"]["first"]) for record in told] == [("reviewer", run["id"])]
