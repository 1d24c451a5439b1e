"""A private version beside open ones: nothing that is told of the open ones tells of it; and who is no owner of it."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest
from headquarters import Headquarters, expect, plain, refused, script
from test_namespace import PRIVATE, by, enter, transfer
from test_server_schedules import order
from world import NOW

from protocol.bundle import Bundle
from protocol.signing import sign
from protocol.timestamps import stamp

HIDDEN = "needs: [{call: fs.read, paths: ['/srv/sesame/*']}]\n" + PRIVATE
SEEN_BY_ALL = ("/reviews", "/reviews/{review}", "/reviews/{review}/code", "/reviews/{review}/bundle")


async def between(server: Headquarters) -> str:
    """Publish a private version, which bob approves for a secret reason, and an open one; return the review of that."""
    hidden = script("return 'sesame'\n", version="1.2.0", tier="inspect", more=HIDDEN)
    expect(await server.publish(hidden), 201)
    about = server.about(hidden)
    told = server.world.approval(**about, tier="inspect", reason="sesame, said bob")
    expect(await server.approve(hidden, told), 200)
    published = expect(await server.publish(script(version="1.3.0", tier="inspect")), 201)
    return str(published["review"])


@pytest.mark.parametrize("role", ["viewer", "operator", "author", "auditor"])
async def test_the_review_of_an_open_version_tells_nothing_of_a_private_one(server: Headquarters, role: str) -> None:
    """Neither its code, by what was taken out of it, nor its permissions, nor that it is there."""
    review = await between(server)
    seen = enter(server, role, "mallory")
    for path in SEEN_BY_ALL:
        answer = await server.ask("GET", path.format(review=review), role=seen)
        assert answer.status_code == 200
        assert "sesame" not in answer.text, path
        assert "1.2.0" not in answer.text, path
    (listed,) = await server.pages("/reviews", role=seen)
    assert listed["since_approved"]["previous"] is None
    (event,) = (await server.get(f"/reviews/{review}", role=seen))["history"]
    assert (event["what"], event["version"]) == ("published", "1.3.0")
    (code,) = [each for each in await server.pages(f"/reviews/{review}/code", role=seen) if each["path"] == "main.lua"]
    assert (code["change"], code["text"]) == ("whole", "return 1\n")


@pytest.mark.parametrize(("role", "principal"), [("reviewer", "rita"), ("admin", "root"), ("author", "ann")])
async def test_who_may_see_it_reviews_against_it(server: Headquarters, role: str, principal: str) -> None:
    review = await between(server)
    seen = enter(server, role, principal)
    shown = await server.get(f"/reviews/{review}", role=seen)
    assert shown["previous"] == "1.2.0"
    assert [event["version"] for event in shown["history"]] == ["1.3.0", "1.2.0", "1.2.0"]
    assert "sesame" in str(await server.pages(f"/reviews/{review}/code", role=seen))


async def test_one_who_may_not_see_it_is_not_told_what_one_who_may_was_told(server: Headquarters) -> None:
    """What was found out for a reviewer is remembered."""
    await between(server)
    enter(server, "reviewer", "rita")
    seen = enter(server, "viewer", "mallory")
    for _ in range(2):
        mine = await server.pages("/reviews", role="rita")
        assert {item["version"]: item["since_approved"]["previous"] for item in mine} == {
            "1.2.0": None,
            "1.3.0": "1.2.0",
        }
        assert [item["since_approved"]["previous"] for item in await server.pages("/reviews", role=seen)] == [None]


async def test_a_number_counts_no_review_that_one_may_not_see(server: Headquarters) -> None:
    expect(await server.publish(script(more=PRIVATE)), 201)
    told = {role: (await server.get("/status", role=role))["reviews_open"] for role in ("viewer", "reviewer", "admin")}
    assert told == {"viewer": 0, "reviewer": 1, "admin": 1}


@pytest.mark.parametrize("principal", ["Ann", "ANN", "aNn", "an_", "ann%", "nn", "an", "\u1d00nn", "\uff41nn"])
async def test_who_is_called_almost_like_an_owner_is_none(server: Headquarters, principal: str) -> None:
    """The database compares without regard to case if it is let."""
    await server.bring_in(script(name="checks/secret", more=PRIVATE))
    seen = enter(server, "author", principal)
    refused(await server.ask("GET", "/scripts/show", role=seen, name="checks/secret"), 404, "not_found")
    for path in ("/scripts", "/scripts/search", "/reviews", "/scripts/folders"):
        assert await server.pages(path, role=seen) == []
    answer = await server.api.get(
        "/git/scripts.git/info/refs", params={"service": "git-upload-pack"}, headers=server.authorization(seen)
    )
    assert answer.status_code == 200
    assert b"secret" not in answer.content
    body = {"name": "checks/secret", "reason": "mine is better"}
    refused(await server.ask("POST", "/scripts/deprecate", body, role=seen), 404, "not_found")


async def test_a_private_library_is_not_read_by_way_of_a_script_that_pins_it(server: Headquarters) -> None:
    """Its digest stands in records of runs; who pins it is told neither its name nor what it calls."""
    source = "return {f = function() return fs.read('/srv/sesame') end}\n"
    hidden = await server.bring_in(script(source, name="checks/secret", more=f"kind: library\n{PRIVATE}"))
    for name in ("checks/guess", "checks/secret"):
        pins = f"requires: [{{name: {name}, digest: '{hidden.digest}'}}]\n"
        mine = script(
            f"return require('{name}').f()\n", name=f"other/{name.partition('/')[2]}", tier="inspect", more=pins
        )
        seen = enter(server, "author", "eve")
        published = expect(await server.publish(mine, by(server, "eve", mine)), 201)
        for path in SEEN_BY_ALL:
            answer = await server.ask("GET", path.format(review=published["review"]), role=seen)
            assert "sesame" not in answer.text
            assert name == "checks/secret" or "secret" not in answer.text
        shown = await server.get(f"/reviews/{published['review']}", role=seen)
        assert shown["dynamic"][0] == f"manifest.yaml: requires {name} {hidden.digest} is not published here"


async def test_a_library_of_ones_own_is_read_with_the_script_that_pins_it(server: Headquarters) -> None:
    source = "return {f = function() return fs.read('/srv/sesame') end}\n"
    hidden = await server.bring_in(script(source, name="checks/secret", more=f"kind: library\n{PRIVATE}"))
    pins = f"requires: [{{name: checks/secret, digest: '{hidden.digest}'}}]\n{PRIVATE}"
    published = expect(await server.publish(script("return require('checks/secret').f()\n", more=pins)), 201)
    assert (await server.get(f"/reviews/{published['review']}"))["dynamic"] == []


# handing over ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signer", ["eve", "bob", "stranger"])
async def test_handing_over_what_one_may_not_see_is_as_handing_over_nothing(server: Headquarters, signer: str) -> None:
    await server.bring_in(script(more=PRIVATE))
    seen = enter(server, "author", "mallory")
    told = refused(
        await server.ask("POST", "/scripts/transfer", transfer(server, "eve", by=signer), role=seen), 404, "not_found"
    )
    body = {"type": "transfer", "name": "checks/nobody", "to": ["eve"], "reason": "", "issued": stamp(NOW)}
    nobody = {"envelope": plain(sign("transfer", body, server.world.key(signer)))}
    same = refused(await server.ask("POST", "/scripts/transfer", nobody, role=seen), 404, "not_found")
    assert told["detail"] == same["detail"].replace("nobody", "disk")


async def test_an_owners_word_counts_whoever_brings_it(server: Headquarters) -> None:
    await server.bring_in(script(more=PRIVATE))
    seen = enter(server, "author", "mallory")
    await server.post("/scripts/transfer", transfer(server, "eve"), role=seen)
    assert (await server.get("/scripts/show", name="checks/disk"))["owners"] == ["eve"]


async def test_a_version_does_not_come_in_after_its_name_was_handed_over(server: Headquarters) -> None:
    """Whichever is first: nothing by the old owner is published after the new one owns the name."""
    expect(await server.publish(script()), 201)
    owner = "ann"
    for number in range(1, 9):
        other = "eve" if owner == "ann" else "ann"
        newer = script(f"return {number}\n", version=f"1.{number + 2}.0")
        given = server.ask("POST", "/scripts/transfer", transfer(server, other, by=owner, after_s=number))
        brought = server.publish(newer, by(server, owner, newer))
        first, second = (given, brought) if number % 2 else (brought, given)
        await asyncio.gather(first, second)
        owner = other
    calls = [
        (record["call"], record["arguments"]) for record in await server.records()
        if record["call"] in ("script.publish", "script.transfer")
    ]  # fmt: skip
    owner = "ann"
    for call, told in calls:
        if call == "script.transfer":
            (owner,) = told["to"]
        else:
            assert told["author"] == owner, calls


# what an order says ---------------------------------------------------------------------------------------------------


async def test_a_schedule_is_not_called_like_another_script(server: Headquarters) -> None:
    """An order is over a digest; whoever lists schedules reads a name."""
    bundle = await server.bring_in(script())

    def asked(name: str) -> dict[str, Any]:
        schedule = {"id": "0" * 16, "script": name, "digest": bundle.digest, "on": "*", "cron": "0 3 * * *"}
        return {"on": "*", "script": "checks/disk", "order": order(server, digest=bundle.digest, schedule=schedule)}

    told = refused(await server.ask("POST", "/schedules", asked("checks/harmless")), 422, "invalid_argument")
    assert "checks/harmless" in told["detail"]
    made = await server.post("/schedules", asked("checks/disk"), 201)
    assert (made["script"], made["digest"]) == ("checks/disk", bundle.digest)


async def test_a_bundle_is_handed_out_by_name_to_whoever_may_see_it(server: Headquarters) -> None:
    """The version that is named, or the newest that may run; of a private one nobody is told that it is there."""
    await between(server)
    running = await server.bring_in(script("return 7\n", version="1.1.0", tier="inspect"))
    mallory, name = enter(server, "viewer", "mallory"), running.manifest.name
    assert (await server.get("/scripts/bundle", name=name, role=mallory))["digest"] == running.digest
    waiting = await server.get("/scripts/bundle", name=name, version="1.3.0", role=mallory)
    assert waiting["digest"] == script(version="1.3.0", tier="inspect").digest
    for version in ("1.2.0", "9.9.9"):
        answer = await server.ask("GET", f"/scripts/bundle?name={name}&version={version}", role=mallory)
        told = f"there is no script '{name}' of version {version}"
        assert (answer.status_code, answer.json()["detail"]) == (404, told)
    assert "sesame" in str(bundle_files(await server.get("/scripts/bundle", name=name, role="reviewer")))


def bundle_files(told: dict[str, Any]) -> dict[str, bytes]:
    return dict(Bundle.unpack(base64.b64decode(told["bundle"])).files)
