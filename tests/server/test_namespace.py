"""The one namespace: whose a name is, what its versions announce, who sees it, and how it is found."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from headquarters import Headquarters, expect, headquarters, plain, refused, script
from world import NOW

from protocol.bundle import Bundle
from protocol.signing import Envelope, sign
from protocol.timestamps import stamp
from server import access

PRIVATE = "visibility: private\n"


def by(server: Headquarters, who: str, bundle: Bundle) -> Envelope:
    return server.world.publication(who, **server.about(bundle), tier=bundle.manifest.tier.label)


def transfer(server: Headquarters, *to: str, by: str = "ann", after_s: int = 0) -> dict[str, Any]:
    issued = stamp(NOW + timedelta(seconds=after_s))
    body = {"type": "transfer", "name": "checks/disk", "to": list(to), "reason": "", "issued": issued}
    return {"envelope": plain(sign("transfer", body, server.world.key(by)))}


def enter(server: Headquarters, role: str, principal: str) -> str:
    """Let somebody in, and return under what the headquarters knows the token."""
    made = server.core.database.submit(lambda c: access.make(c, principal, [role], 86_400.0)).result()
    server.tokens[principal] = made["token"]
    return principal


# owners ---------------------------------------------------------------------------------------------------------------


async def test_only_owners_publish_further_versions(server: Headquarters) -> None:
    """eve may publish everywhere, says the roster; checks/disk was ann's first."""
    expect(await server.publish(script()), 201)
    newer = script(version="1.3.0")
    told = refused(await server.publish(newer, by(server, "eve", newer)), 403, "denied")
    assert "checks/disk belongs to ann" in told["detail"]
    assert (await server.get("/scripts/show", name="checks/disk"))["versions"] == ["1.2.0"]
    assert (await server.records(kind="refusal"))[-1]["data"]["message"] == told["detail"]


async def test_a_name_is_handed_over(server: Headquarters) -> None:
    expect(await server.publish(script()), 201)
    await server.post("/scripts/transfer", transfer(server, "eve"))
    newer = script(version="1.3.0")
    refused(await server.publish(newer), 403, "denied")
    published = expect(await server.publish(newer, by(server, "eve", newer)), 201)
    assert published["owners"] == ["eve"]
    old = await server.get("/scripts/show", name="checks/disk", version="1.2.0")
    assert (old["owners"], old["owners_when_published"]) == (["eve"], ["ann"])
    (record,) = [item for item in await server.records() if item["call"] == "script.transfer"]
    assert (record["arguments"]["from"], record["arguments"]["to"]) == (["ann"], ["eve"])


async def test_an_old_transfer_is_refused(server: Headquarters) -> None:
    expect(await server.publish(script()), 201)
    first = transfer(server, "eve")
    await server.post("/scripts/transfer", first)
    await server.post("/scripts/transfer", transfer(server, "ann", by="eve", after_s=60))
    refused(await server.ask("POST", "/scripts/transfer", first), 403, "untrusted", reason="rollback")
    assert (await server.get("/scripts/show", name="checks/disk"))["owners"] == ["ann"]


async def test_what_is_not_there_cannot_be_handed_over(server: Headquarters) -> None:
    refused(await server.ask("POST", "/scripts/transfer", transfer(server, "eve")), 404, "not_found")


async def test_two_who_race_for_a_name(server: Headquarters) -> None:
    """One gets it; of the other nothing is left, not even in git."""
    mine, others = script(version="1.0.0"), script("return 2\n", version="1.1.0")
    answers = await asyncio.gather(server.publish(mine), server.publish(others, by(server, "eve", others)))
    assert sorted(answer.status_code for answer in answers) == [201, 403]
    won = mine if answers[0].status_code == 201 else others
    assert (await server.get("/scripts/show", name="checks/disk"))["versions"] == [won.manifest.version]
    assert server.core.repository.has("checks/disk", won.manifest.version)
    assert not server.core.repository.has("checks/disk", (others if won is mine else mine).manifest.version)


async def test_two_who_race_for_a_version(server: Headquarters) -> None:
    one, other = script("return 1\n"), script("return 2\n")
    answers = await asyncio.gather(*(server.publish(bundle) for bundle in (one, other)))
    assert sorted(answer.status_code for answer in answers) == [201, 409]
    (shown,) = await server.pages("/scripts")
    assert shown["digest"] in (one.digest, other.digest)


# versions -------------------------------------------------------------------------------------------------------------


async def test_a_number_must_announce_what_it_breaks(server: Headquarters) -> None:
    expect(await server.publish(script(more="parameters: {n: {type: integer}}\n")), 201)
    told = refused(await server.publish(script(version="1.2.1")), 409, "conflict")
    assert "1.2.1 breaks what 1.2.0 promised (the parameter n is gone): make it 2.0.0" in told["detail"]
    refused(await server.publish(script(version="1.3.0", tier="inspect")), 409, "conflict")
    assert expect(await server.publish(script(version="2.0.0")), 201)["level"] == "breaking"


async def test_an_older_line_can_be_corrected(server: Headquarters) -> None:
    """1.2.1 after 2.0.0 is held against 1.2.0, and nobody who names no version gets it."""
    more = "parameters: {n: {type: integer}}\n"
    await server.bring_in(script(more=more))
    await server.bring_in(script("return 2\n", version="2.0.0"))
    fixed = await server.bring_in(script("return 3\n", version="1.2.1", more=more))
    await server.bring_in(script("return 4\n", version="3.0.0-rc.1"))
    shown = await server.get("/scripts/show", name="checks/disk")
    assert (shown["version"], shown["versions"]) == ("2.0.0", ["2.0.0", "1.2.1", "1.2.0", "3.0.0-rc.1"])
    found = await server.get("/scripts/show", name="checks/disk", version="1.2.1")
    assert (found["digest"], found["level"]) == (fixed.digest, "compatible")
    (item,) = (await server.get("/scripts/search"))["items"]
    assert item["version"] == "2.0.0"
    head = server.core.repository._git.revparse_single("main").tree["checks/disk/main.lua"]
    assert head.data == b"return 2\n"


# visibility -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["viewer", "operator", "auditor", "author"])
async def test_what_is_private_is_not_there(server: Headquarters, role: str) -> None:
    """In no list, search, folder, diff, log or review; every answer is the one about a name that is not there."""
    hidden = await server.bring_in(script(name="checks/secret", more=PRIVATE))
    (review,) = await server.pages("/reviews")
    await server.bring_in(script(name="checks/open"))
    seen = enter(server, role, "mallory")
    assert [item["name"] for item in await server.pages("/scripts", role=seen)] == ["checks/open"]
    assert [item["name"] for item in await server.pages("/scripts/search", role=seen)] == ["checks/open"]
    assert await server.pages("/scripts/folders", role=seen) == [{"folder": "checks", "scripts": 1}]
    assert [item["script"] for item in await server.pages("/reviews", role=seen)] == ["checks/open"]
    about = {"name": "checks/secret"}
    two = {**about, "before": "1.2.0", "after": "1.2.0"}
    for path, query in [
        ("/scripts/show", about), ("/scripts/log", about), ("/scripts/diff", two), ("/scripts/diff/code", two),
        (f"/reviews/{review['id']}", {}), (f"/reviews/{review['id']}/code", {}),
    ]:  # fmt: skip
        answer = await server.ask("GET", path, role=seen, **query)
        told = refused(answer, 404, "not_found")
        nobody = {key: value.replace("secret", "nobody") for key, value in query.items()}
        same = await server.ask("GET", path.replace(review["id"], "nobody"), role=seen, **nobody)
        assert told["detail"].replace("secret", "nobody").replace(review["id"], "nobody") == same.json()["detail"]
    assert hidden.digest not in (await server.ask("GET", "/scripts", role=seen)).text


async def test_who_may_see_what_is_private(server: Headquarters) -> None:
    await server.bring_in(script(name="checks/secret", more=PRIVATE))
    for role, principal in [("author", "ann"), ("viewer", "ann"), ("reviewer", "rita"), ("admin", "root")]:
        seen = enter(server, role, principal)
        assert (await server.get("/scripts/show", role=seen, name="checks/secret"))["visibility"] == "private"
        assert [item["name"] for item in await server.pages("/scripts/search", role=seen)] == ["checks/secret"]


async def test_each_version_is_as_visible_as_it_says(server: Headquarters) -> None:
    """That a later version is open does not open the ones before."""
    expect(await server.publish(script(more=PRIVATE)), 201)
    expect(await server.publish(script(version="1.3.0")), 201)
    seen = enter(server, "viewer", "mallory")
    assert (await server.get("/scripts/show", role=seen, name="checks/disk"))["versions"] == ["1.3.0"]
    (logged,) = await server.pages("/scripts/log", role=seen, name="checks/disk")
    assert (logged["version"], logged["change"]) == ("1.3.0", "first")
    refused(await server.ask("GET", "/scripts/show", role=seen, name="checks/disk", version="1.2.0"), 404, "not_found")


async def test_a_script_that_one_cannot_see_cannot_be_run(server: Headquarters) -> None:
    await server.bring_in(script(more=PRIVATE))
    await server.add_agent("web-1")
    seen = enter(server, "operator", "mallory")
    body = {"target": "*", "script": "checks/disk"}
    refused(await server.ask("POST", "/runs", body, role=seen), 404, "not_found")
    on = {"on": "*", "script": "checks/disk", "every": "1m"}
    refused(await server.ask("POST", "/schedules", on, role=seen), 404, "not_found")


# finding --------------------------------------------------------------------------------------------------------------


async def test_search_and_folders(server: Headquarters) -> None:
    for name, more in [
        ("checks/mail/queue", "tags: [mail, postfix]\n"), ("checks/mail/spam", "tags: [mailman]\nkind: library\n"),
        ("checks/disk", "licence: MIT\nlinks: {code: 'https://example.org/'}\n"),
    ]:  # fmt: skip
        expect(await server.publish(script(name=name, more=more)), 201)

    async def found(**query: Any) -> list[str]:
        return [item["name"].removeprefix("checks/") for item in await server.pages("/scripts/search", **query)]

    assert await found() == ["disk", "mail/queue", "mail/spam"]
    assert await found(q="MAIL queue") == ["mail/queue"]
    assert await found(q="of the tests") == ["disk", "mail/queue", "mail/spam"]
    assert await found(q="#postfix") == ["mail/queue"]
    assert await found(tag="mail") == ["mail/queue"]
    assert await found(q="ma%l") == []
    assert await found(kind="library") == ["mail/spam"]
    assert await found(folder="checks/mail") == ["mail/queue", "mail/spam"]
    assert await found(folder="checks", direct="true") == ["disk"]
    assert await found(limit="1") == ["disk", "mail/queue", "mail/spam"]
    assert await server.pages("/scripts/folders") == [{"folder": "checks", "scripts": 3}]
    assert await server.pages("/scripts/folders", folder="checks") == [{"folder": "checks/mail", "scripts": 2}]
    assert await server.pages("/scripts/folders", folder="che") == []
    (item,) = (await server.get("/scripts/search", q="checks/disk"))["items"]
    assert (item["licence"], item["links"], item["owners"]) == ("MIT", {"code": "https://example.org/"}, ["ann"])
    refused(await server.ask("GET", "/scripts/search", q="a " * 9), 422, "invalid_argument")


async def test_a_library_is_not_run_by_itself(server: Headquarters) -> None:
    await server.bring_in(script(name="checks/lib", more="kind: library\n"))
    await server.add_agent("web-1")
    told = refused(await server.ask("POST", "/runs", {"target": "*", "script": "checks/lib"}), 409, "conflict")
    assert "is a library" in told["detail"]


# deprecating ----------------------------------------------------------------------------------------------------------


async def test_who_uses_what_is_deprecated_is_told(server: Headquarters) -> None:
    await server.bring_in(script())
    await server.bring_in(script(name="checks/disk2"))
    await server.add_agent("web-1")
    owner = enter(server, "author", "ann")
    body = {"name": "checks/disk", "reason": "reads nothing", "replacement": "checks/disk2"}
    await server.post("/scripts/deprecate", body, role=owner)
    warning = "checks/disk 1.2.0 is deprecated: reads nothing; use checks/disk2"
    started = await server.post("/runs", {"target": "*", "script": "checks/disk"}, 201)
    assert (started["warnings"], len(started["runs"])) == ([warning], 1)
    made = await server.post("/schedules", {"on": "*", "script": "checks/disk", "every": "1m"}, 201)
    assert made["warnings"] == [warning]
    assert (await server.get(f"/schedules/{made['id']}"))["warnings"] == [warning]
    shown = await server.get("/scripts/show", name="checks/disk")
    assert shown["deprecated"]["replacement"] == "checks/disk2"
    await server.post("/scripts/deprecate", {"name": "checks/disk", "undo": True}, role=owner)
    assert (await server.get("/scripts/show", name="checks/disk"))["deprecated"] is None
    calls = [item["call"] for item in await server.records() if "deprecate" in item["call"]]
    assert calls == ["script.deprecate", "script.undeprecate"]


async def test_one_version_is_deprecated(server: Headquarters) -> None:
    await server.bring_in(script())
    await server.bring_in(script(version="1.3.0"))
    await server.post("/scripts/deprecate", {"name": "checks/disk", "version": "1.2.0", "reason": "slow"})
    listed = {item["version"]: item["deprecated"] for item in await server.pages("/scripts")}
    assert listed["1.2.0"]["reason"] == "slow"
    assert listed["1.3.0"] is None


async def test_others_deprecate_nothing(server: Headquarters) -> None:
    await server.bring_in(script())
    other = enter(server, "author", "mallory")
    body = {"name": "checks/disk", "reason": "use mine"}
    refused(await server.ask("POST", "/scripts/deprecate", body, role=other), 403, "denied")
    for wrong, status in [({"reason": " "}, 422), ({"undo": True}, 422), ({"replacement": "checks/none"}, 404),
                          ({"version": "9.9.9"}, 404), ({"name": "checks/none"}, 404)]:  # fmt: skip
        assert (await server.ask("POST", "/scripts/deprecate", body | wrong)).status_code == status


# beginning ------------------------------------------------------------------------------------------------------------


async def test_what_an_older_server_published_is_read(server: Headquarters) -> None:
    """Its rows have no rank and are nobody's; until they are read they are shown to nobody who may not see all."""
    await server.bring_in(script(more="tags: [disk]\n"))
    server.tamper("DELETE FROM names")
    server.tamper("UPDATE scripts SET rank = '', visibility = 'private', owners = '[]'")
    async with headquarters(server.directory, server.world, server.clock) as again:
        (item,) = (await again.get("/scripts/search", tag="disk", role="viewer"))["items"]
        assert (item["name"], item["owners"], item["visibility"]) == ("checks/disk", ["ann"], "account")


async def test_what_a_crash_left_in_git_is_taken_away(server: Headquarters) -> None:
    """Between git and the database: the tag is there, the row is not, and somebody else publishes the version then."""
    await server.bring_in(script())
    left = script("return 'left'\n", version="1.3.0")
    nowhere = script(name="checks/disk-nowhere")
    server.core.repository.publish(left, "eve", "{}")
    server.core.repository.publish(nowhere, "eve", "{}")
    async with headquarters(server.directory, server.world, server.clock) as again:
        assert not again.core.repository.has("checks/disk", "1.3.0")
        assert not again.core.repository.has("checks/disk-nowhere", "1.2.0")
        main = again.core.repository._git.revparse_single("main")
        assert main.tree["checks/disk/main.lua"].data == b"return 1\n"
        assert [entry.name for entry in main.tree["checks"]] == ["disk"]
        expect(await again.publish(script("return 3\n", version="1.3.0")), 201)


async def test_what_was_left_in_git_stands_in_nobodys_way(server: Headquarters) -> None:
    """The same without a new start: only the database says what is published."""
    server.core.repository.publish(script("return 'left'\n"), "eve", "{}")
    mine = script()
    expect(await server.publish(mine), 201)
    assert (await server.get("/scripts/show", name="checks/disk"))["digest"] == mine.digest
