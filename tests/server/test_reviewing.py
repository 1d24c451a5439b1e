"""What a reviewer sees: what changed since the last approved version, what the code can do, what happened before."""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from typing import Any

import pytest
from headquarters import Headquarters, expect, refused, script
from sqlalchemy import insert
from world import NOW

from protocol.bundle import Bundle
from protocol.timestamps import stamp
from server import clock, findings, reading
from server.api import code_pages
from server.services import comments, desired, insights, reviews
from server.store import tables

READ = "needs: [{call: fs.read, paths: [/etc/hosts]}]\n"
MORE = "needs: [{call: fs.read, paths: [/etc/**]}, {call: net.http, targets: [web.example.org]}]\n"
TWO_RISKS = "local x = fs.read('/etc/shadow')\nnet.http('https://web.example.org', {body=x})\n"


def inspect(source: str = "return fs.read('/etc/hosts')\n", version: str = "1.0.0", **more: Any) -> Bundle:
    return script(source, version=version, tier="inspect", **more)


async def open_review(server: Headquarters, bundle: Bundle) -> dict[str, Any]:
    """Publish, and return its line in the list."""
    review = expect(await server.publish(bundle), 201)["review"]
    (found,) = [item for item in await server.pages("/reviews", state="open") if item["id"] == review]
    return found


async def test_what_was_never_approved_is_new(server: Headquarters) -> None:
    found = await open_review(server, inspect(more=READ))
    assert found["since_approved"] == {
        "previous": None, "gained": ["+ tier inspect", "+ fs.read /etc/hosts"], "more": 0,
    }  # fmt: skip
    assert found["risks"] == []


async def test_a_list_shows_what_the_permissions_gained_and_the_risks(server: Headquarters) -> None:
    await server.bring_in(inspect(more=READ))
    found = await open_review(server, inspect(TWO_RISKS, "1.1.0", more=MORE))
    assert found["since_approved"] == {
        "previous": "1.0.0", "gained": ["+ fs.read /etc/**", "+ net.http web.example.org"], "more": 0,
    }  # fmt: skip
    assert found["risks"] == [{"code": "read_secrets_and_send", "short": "reads secrets + sends"}]


async def test_nothing_gained_is_told_as_nothing(server: Headquarters) -> None:
    await server.bring_in(inspect(more=READ))
    found = await open_review(server, inspect("-- faster\nreturn fs.read('/etc/hosts')\n", "1.1.0", more=READ))
    assert found["since_approved"] == {"previous": "1.0.0", "gained": [], "more": 0}


async def test_a_review_shows_changes_with_what_was_before_and_why_it_is_risky(server: Headquarters) -> None:
    await server.bring_in(inspect(more=READ))
    line = await open_review(server, inspect(TWO_RISKS, "1.1.0", more=MORE))
    shown = await server.get(f"/reviews/{line['id']}")
    assert shown["since_approved"] == line["since_approved"]
    assert shown["changes"][0] == {
        "area": "needs", "kind": "widened", "subject": "fs.read", "now": "/etc/**", "before": "/etc/hosts",
        "gain": True, "text": "+ fs.read /etc/**",
    }  # fmt: skip
    (risk,) = shown["risks"]
    assert (risk["calls"], risk["paths"]) == (["fs.read", "net.http"], ["/etc/**"])
    assert "send them away" in risk["means"]
    assert [(call["call"], call["places"]) for call in shown["inferred"]] == [
        ("fs.read", ["main.lua:1"]), ("net.http", ["main.lua:2"]),
    ]  # fmt: skip
    assert (shown["tests"], shown["checked"]) == ([], None)


async def test_what_is_dynamic_or_wrong_is_shown_with_its_place(server: Headquarters) -> None:
    line = await open_review(server, inspect("fs.read()\nreturn fs[param('x')]('/')\n"))
    assert line["risks"][0]["short"] == "calls nobody can tell"
    shown = await server.get(f"/reviews/{line['id']}")
    assert shown["wrong"] == ["main.lua:1: fs.read: path is missing"]
    assert shown["dynamic"][0].startswith("main.lua:2: fs is used")
    assert shown["inferred_tier"] == "admin"


async def test_a_script_is_read_together_with_the_library_that_it_pins(server: Headquarters) -> None:
    """Alone, the script seems to call nothing: what it calls was left to it by the library."""
    library = script("files = fs\n", name="checks/files")
    pins = f"requires: [{{name: checks/files, digest: '{library.digest}'}}]\n"
    bundle = inspect("require('checks/files')\nreturn files.read('/etc/shadow')\n", more=pins)
    line = await open_review(server, bundle)
    shown = await server.get(f"/reviews/{line['id']}")
    assert shown["dynamic"] == [f"manifest.yaml: requires checks/files {library.digest} is not published here"]
    assert (shown["inferred_tier"], "fs.read" in shown["calls"]) == ("admin", False)
    expect(await server.publish(library), 201)
    shown = await server.get(f"/reviews/{line['id']}")
    assert (shown["dynamic"], shown["inferred_tier"]) == ([], "inspect")
    assert {"fs.read", "require"} <= set(shown["calls"])
    (again,) = [item for item in await server.pages("/reviews") if item["id"] == line["id"]]
    assert again["risks"] == []


async def test_a_library_by_another_name_is_not_taken(server: Headquarters) -> None:
    library = script("return 1\n", name="checks/files")
    expect(await server.publish(library), 201)
    pins = f"requires: [{{name: checks/other, digest: '{library.digest}'}}]\n"
    line = await open_review(server, inspect("return require('checks/other')\n", more=pins))
    assert line["risks"][0]["code"] == "dynamic"


async def test_a_withdrawn_version_is_nothing_to_compare_with(server: Headquarters) -> None:
    """It may have been withdrawn because it could do too much; nothing of that may pass as known."""
    first, second = inspect(more=READ), inspect(TWO_RISKS, "1.1.0", more=MORE)
    await server.bring_in(first)
    await server.bring_in(second)
    expect(await server.withdraw(second, "bob"), 200)
    line = await open_review(server, inspect(TWO_RISKS, "1.2.0", more=MORE))
    assert line["since_approved"]["previous"] == "1.0.0"
    assert line["since_approved"]["gained"] == ["+ fs.read /etc/**", "+ net.http web.example.org"]
    expect(await server.withdraw(first, "bob"), 200)
    (line,) = await server.pages("/reviews", state="open")
    assert line["since_approved"]["previous"] is None


async def test_a_decided_review_is_shown_against_what_was_approved_before_it(server: Headquarters) -> None:
    for version in ("1.0.0", "1.1.0", "1.2.0"):
        await server.bring_in(inspect(version=version))
    found = {item["version"]: item["since_approved"]["previous"] for item in await server.pages("/reviews")}
    assert found == {"1.0.0": None, "1.1.0": "1.0.0", "1.2.0": "1.1.0"}


async def test_the_history_of_a_script_is_told_newest_first(server: Headquarters) -> None:
    first, second = inspect(), inspect(version="1.1.0")
    await server.bring_in(first)
    review = expect(await server.publish(second), 201)["review"]
    await server.post(f"/reviews/{review}/reject", {"reason": "why?"})
    expect(await server.withdraw(first, "bob"), 200)
    history = (await server.get(f"/reviews/{review}"))["history"]
    assert [(event["what"], event["version"], event["by"], event["reason"]) for event in history] == [
        ("withdrawn", "1.0.0", "bob", "it leaks"), ("rejected", "1.1.0", "admin", "why?"),
        ("published", "1.1.0", "ann", None), ("approved", "1.0.0", "bob", "looks right"),
        ("published", "1.0.0", "ann", None),
    ]  # fmt: skip
    assert (history[3]["tier"], history[3]["grant"]) == ("inspect", {})


async def test_the_log_shows_each_version_against_the_one_before(server: Headquarters) -> None:
    await server.bring_in(inspect(more=READ))
    expect(await server.publish(inspect(TWO_RISKS, "1.1.0", more=MORE)), 201)
    expect(await server.publish(inspect(TWO_RISKS, "1.1.1", more=MORE)), 201)
    log = await server.pages("/scripts/log", name="checks/disk", limit=2)
    assert [(item["version"], item["change"], item["author"], item["status"]) for item in log] == [
        ("1.1.1", "metadata", "ann", "waiting"), ("1.1.0", "compatible", "ann", "waiting"),
        ("1.0.0", "first", "ann", "approved"),
    ]  # fmt: skip
    assert [item["since"]["gained"] for item in log[:2]] == [
        [], ["+ fs.read /etc/**", "+ net.http web.example.org"],
    ]  # fmt: skip
    assert [event["by"] for event in log[2]["approvals"]] == ["bob"]
    assert (await server.ask("GET", "/scripts/log", name="checks/nowhere")).status_code == 404


async def test_any_two_versions_are_compared(server: Headquarters) -> None:
    expect(await server.publish(inspect(more=READ)), 201)
    expect(await server.publish(inspect(TWO_RISKS, "1.1.0", more=MORE)), 201)
    names = {"name": "checks/disk", "before": "1.1.0", "after": "1.0.0"}
    back = await server.get("/scripts/diff", **names)
    assert [change["text"] for change in back["changes"]] == ["- fs.read /etc/**", "- net.http web.example.org"]
    assert (back["change"], back["risks"]) == ("compatible", [])
    code = await server.pages("/scripts/diff/code", **names)
    assert [part["path"] for part in code] == ["main.lua", "manifest.yaml"]
    for path in ("/scripts/diff", "/scripts/diff/code"):
        assert (await server.ask("GET", path, **(names | {"after": "9.0.0"}))).status_code == 404


async def test_code_comes_page_by_page(server: Headquarters) -> None:
    line = await open_review(server, inspect("-- " + "x" * 200_000 + "\n"))
    found = await server.pages(f"/reviews/{line['id']}/code", limit=2)
    assert [(part["path"], part["change"], part["part"]) for part in found] == [
        ("main.lua", "whole", 1), ("main.lua", "whole", 2), ("main.lua", "whole", 3), ("main.lua", "whole", 4),
        ("manifest.yaml", "whole", 1),
    ]  # fmt: skip
    assert (await server.ask("GET", f"/reviews/{line['id']}/code", cursor="Wy0xXQ")).status_code == 422


async def test_a_list_reads_only_so_many_that_nothing_is_kept_of(
    server: Headquarters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an upgrade nothing that is kept holds; a list may then not read hundreds of versions at once."""
    monkeypatch.setattr(reviews, "MAX_READ_AT_ONCE", 1)
    for version in ("2.0.0", "2.1.0", "2.2.0"):
        expect(await server.publish(inspect(version=version)), 201)
    monkeypatch.setattr(insights, "made_by", lambda: "another release")
    for known in (1, 2, 3):
        found = await server.pages("/reviews")
        assert [item["since_approved"] is not None for item in found] == [place < known for place in range(3)]


class Slow:
    """Stands in the place of something that takes its time, and tells how often it was begun."""

    def __init__(self, answer: Any) -> None:
        self.begun = threading.Semaphore(0)
        self.count = 0
        self.may_end = threading.Event()
        self._answer = answer

    def __call__(self, *given: Any) -> Any:
        self.count += 1
        self.begun.release()
        self.may_end.wait(60)
        return self._answer(*given)


async def test_long_scripts_of_which_nothing_is_kept_leave_readers_for_others(
    server: Headquarters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one that pins what is not there nothing is ever kept: whoever looked at it four times had all readers."""
    text = "-- " + "x" * reading.MAX_HERE_BYTES + "\nreturn fs.read('/etc/hosts')\n"
    versions = [f"1.{number}.0" for number in range(insights.MAX_AT_ONCE + 2)]
    lacking = f"requires: [{{name: lib/none, digest: 'sha256:{'0' * 64}'}}]\n"
    for version in versions:
        expect(await server.publish(inspect(text, version=version, more=lacking)), 201)
    ids = [each["id"] for each in await server.pages("/reviews", role="viewer")]
    insights._READ.clear()
    reviews._SUMMARIES.clear()
    slow = Slow(reading.read)
    monkeypatch.setattr(reading, "read", slow)
    looks = {asyncio.create_task(server.ask("GET", f"/reviews/{each}", role="viewer")): each for each in ids}
    for _ in range(insights.MAX_AT_ONCE):
        await asyncio.to_thread(slow.begun.acquire)
    reading_on = set(looks)  # whichever came first
    async with asyncio.timeout(60):
        while len(reading_on) > insights.MAX_AT_ONCE:
            done, reading_on = await asyncio.wait(reading_on, return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                refused(each.result(), 503, "unavailable")
        assert (await server.ask("GET", "/status")).status_code == 200
        assert [each["since_approved"] for each in await server.pages("/reviews")] == [None] * len(ids)
    slow.may_end.set()
    for look in reading_on:
        assert (await look).status_code == 200
        assert (await server.ask("GET", f"/reviews/{looks[look]}")).status_code == 200
    assert slow.count == insights.MAX_AT_ONCE, "what was read once is remembered"


async def test_comparing_code_takes_no_thread_of_others(server: Headquarters, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were made for it take 18 s; one more page, or somebody who asks ten times, had all threads with it."""
    expect(await server.publish(inspect()), 201)
    expect(await server.publish(inspect("return 2\n", version="2.0.0")), 201)
    code_pages._HELD.clear()
    slow = Slow(reviews.code_parts)
    monkeypatch.setattr(reviews, "code_parts", slow)
    path = "/scripts/diff/code?name=checks/disk&before=1.0.0&after=2.0.0"
    looks = [asyncio.create_task(server.ask("GET", path, role="viewer")) for _ in range(40)]
    await asyncio.to_thread(slow.begun.acquire)
    async with asyncio.timeout(60):
        await asyncio.to_thread(int)
    assert slow.count == 1
    slow.may_end.set()
    answers = [expect(await each, 200) for each in looks]
    assert all(each == answers[0] for each in answers)
    assert slow.count == 1, "the pages of one pair are made once"


async def test_what_is_kept_is_what_reading_finds(server: Headquarters) -> None:
    bundle = inspect(TWO_RISKS, more=MORE)
    expect(await server.publish(bundle), 201)
    kept = await server.core.database.read(lambda connection: insights.kept(connection, bundle.digest))
    assert (kept, None) == findings.find(findings.Source.of(bundle), [], [])


async def test_a_script_made_to_be_large_is_shown_within_bounds(server: Headquarters) -> None:
    """Thousands of calls, needs and odd paths: a list must not carry them all."""
    source = "".join(f"fs.read('/a/{number}')\n" for number in range(4_000)) + "fs.read('/\\237\\160\\128')\n"
    needs = "needs:\n" + "".join(f"- {{call: fs.read, paths: [/a/{n}]}}\n" for n in range(1_500))
    line = await open_review(server, inspect(source, more=needs))
    assert (len(line["since_approved"]["gained"]), line["since_approved"]["more"] > 1_000) == (reviews.MAX_GAINED, True)
    answer = await server.ask("GET", f"/reviews/{line['id']}")
    shown = expect(answer, 200)
    assert (len(shown["changes"]), shown["more_changes"] > 900) == (reviews.MAX_CHANGES, True)
    assert len(answer.content) < 1 << 20


async def test_publishing_takes_little_time(server: Headquarters, monkeypatch: pytest.MonkeyPatch) -> None:
    """50 ms for 20 kB are wanted; held here is that it is not many times that, in processor time."""
    monkeypatch.setattr(reading, "MAX_HERE_BYTES", 1 << 20)  # so that all of it counts
    source = "".join(
        f"local s{n} = fs.space('/srv/{n}')\nif s{n}.total > {n} then log.info('{n}') end\n" for n in range(150)
    )
    expect(await server.publish(inspect(source)), 201)
    took_s = []
    for number in range(
        1, 4
    ):  # the collector may walk through all that the tests hold in one of them, which is no part of it
        source += "-- again, with everything loaded\n"
        started = time.process_time()
        expect(await server.publish(inspect(source, f"1.{number}.0")), 201)
        took_s.append(time.process_time() - started)
    assert min(took_s) < 0.5


# talking, testing, taking back ---------------------------------------------------------------------------------------


def revocation(server: Headquarters, bundle: Bundle, signer: str = "bob", **changes: Any) -> dict[str, Any]:
    about = {
        "name": bundle.manifest.name, "version": bundle.manifest.version, "digest": bundle.digest,
        "reason": "it leaks", "issued": stamp(clock.now()),
    }  # fmt: skip
    return {"envelope": server.world.statement("revocation", (signer,), about | changes, without={"tier"}).to_plain()}


async def test_comments_stand_with_the_review_and_on_the_record(server: Headquarters) -> None:
    line = await open_review(server, inspect(more=READ))
    path = f"/reviews/{line['id']}/comments"
    first = await server.post(path, {"text": "why /etc/hosts?", "place": "main.lua:1"}, 201, role="viewer")
    assert (first["by"], first["place"], first["text"]) == ("viewer", "main.lua:1", "why /etc/hosts?")
    await server.post(path, {"text": "for the name"}, 201)
    shown = await server.get(f"/reviews/{line['id']}")
    assert [(each["by"], each["text"]) for each in shown["comments"]] == [
        ("viewer", "why /etc/hosts?"), ("admin", "for the name"),
    ]  # fmt: skip
    records = [item for item in await server.records() if item["call"] == "review.comment"]
    assert [record["arguments"]["place"] for record in records] == ["main.lua:1", ""]
    expect(await server.ask("POST", "/reviews/none/comments", {"text": "x"}), 404)
    expect(await server.ask("POST", path, {"text": ""}), 422)
    expect(await server.ask("POST", path, {"text": "x" * 4001}), 422)


async def test_who_has_checked_a_version_stands_in_the_queue_by_name(server: Headquarters) -> None:
    await server.publish(script())
    (review,) = await server.pages("/reviews")
    assert review["checked"] is None
    for role, place in (("author", "check: passed"), ("reviewer", "check: failed"), ("viewer", "main.lua:1")):
        path = f"/reviews/{review['id']}/comments"
        expect(await server.ask("POST", path, {"text": "x", "place": place}, role=role), 201)
    (listed,) = await server.pages("/reviews")
    assert (listed["checked"]["passed"], listed["checked"]["by"]) == (False, "reviewer"), "the last one counts"
    assert (await server.get(f"/reviews/{review['id']}"))["checked"] == listed["checked"]


async def test_whoever_approves_again_with_something_else_is_warned(server: Headquarters) -> None:
    """It takes the place of what they said before, on every host."""
    bundle = script()
    await server.publish(bundle)
    first = expect(await server.approve(bundle), 200)
    assert first["warnings"] == []
    about = server.about(bundle) | {"tier": "observe"}
    again = server.world.approval(**about, grant={"labels": {"role": "mail"}}, issued=stamp(NOW))
    (warning,) = expect(await server.approve(bundle, again), 200)["warnings"]
    assert "bob has approved it before" in warning
    assert "takes the place of that one" in warning
    other = server.world.approval("cid", **about, grant={"labels": {"role": "mail"}})
    assert expect(await server.approve(bundle, other), 200)["warnings"] == []


async def test_comments_are_bounded(server: Headquarters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comments, "MAX_COMMENTS", 1)
    path = f"/reviews/{(await open_review(server, inspect(more=READ)))['id']}/comments"
    await server.post(path, {"text": "one"}, 201)
    refused = expect(await server.ask("POST", path, {"text": "two"}), 409)
    assert "1 comments already" in refused["detail"]


async def test_nobody_keeps_others_from_commenting(server: Headquarters, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comments, "MAX_OF_ONE", 2)
    line = await open_review(server, inspect())
    path = f"/reviews/{line['id']}/comments"
    told = [(await server.ask("POST", path, {"text": "no"}, role="viewer")).status_code for _ in range(3)]
    assert told == [201, 201, 409]
    await server.post(path, {"text": "yes"}, 201, role="reviewer")


async def test_the_bundle_of_a_review_is_the_one_that_was_signed(server: Headquarters) -> None:
    bundle = inspect(more=READ)
    line = await open_review(server, bundle)
    told = await server.get(f"/reviews/{line['id']}/bundle")
    assert Bundle.unpack(base64.b64decode(told["bundle"])).digest == bundle.digest == told["digest"]
    assert (told["libraries"], told["publication"]["payloadType"]) == ([], "application/vnd.outrider.publication+json")


async def test_who_approves_and_how_many_must(server: Headquarters) -> None:
    await server.put_roster(2, reviewers={"observe": 2})
    bundle = script("return 1\n")
    line = await open_review(server, bundle)
    await server.post(f"/reviews/{line['id']}/approve", {"approval": approval(server, bundle)})
    shown = await server.get(f"/reviews/{line['id']}")
    assert (shown["state"], shown["reviewers"], [each["name"] for each in shown["approved_by"]]) == ("open", 2, ["bob"])
    told = await server.post(f"/reviews/{line['id']}/approve", {"approval": approval(server, bundle, "cid")})
    assert told["state"] == "approved"


async def test_a_reviewer_takes_back_what_they_approved(server: Headquarters) -> None:
    bundle = script("return 1\n")
    await server.bring_in(bundle)
    (line,) = await server.pages("/reviews", state="approved")
    path = f"/reviews/{line['id']}/revoke"
    told = await server.post(path, revocation(server, bundle))
    assert (told["state"], told["decided"]) == ("open", None)
    shown = await server.get(f"/reviews/{line['id']}")
    assert (shown["approved_by"], shown["history"][0]["what"]) == ([], "revoked")
    assert (shown["history"][0]["by"], shown["history"][0]["reason"]) == ("bob", "it leaks")
    script_shown = await server.get("/scripts/show", name=bundle.manifest.name)
    assert (script_shown["status"], len(script_shown["revocations"]), script_shown["withdrawals"]) == ("revoked", 1, [])
    (record,) = [item for item in await server.records() if item["call"] == "review.revoke"]
    assert record["arguments"]["reviewer"] == "bob"
    wanted = server.core.database.submit(lambda c: desired.everything(server.core, c, await_agent(c))).result()
    assert [len(body["envelopes"]) for method, body in wanted if method == "withdrawals.set"] == [1]


def await_agent(connection: Any) -> str:
    """Return an agent that was never enrolled, for what every agent is sent."""
    values = {
        "id": "agt_1", "name": "one", "public_key": "k", "hostname": "one", "labels": {}, "facts": {}, "created_us": 1,
        "schedules_version": 0, "frozen": False, "freeze_reason": "", "last_sequence": 0, "last_hash": b"",
    }  # fmt: skip
    connection.execute(insert(tables.agents).values(**values))
    return "agt_1"


@pytest.mark.parametrize(
    ("signer", "changes", "status", "said"),
    [
        ("mallory", {}, 403, "known keys"),
        ("cid", {}, 403, "cid approves nothing"),
        ("bob", {"version": "9.9.9"}, 403, "another version"),
        ("bob", {"reason": 3}, 403, "malformed"),
        ("bob", {"issued": "2020-01-01T00:00:00Z"}, 409, None),
    ],
)
async def test_what_takes_nothing_back(
    server: Headquarters, signer: str, changes: dict[str, Any], status: int, said: str | None
) -> None:
    bundle = script("return 1\n")
    await server.bring_in(bundle)
    (line,) = await server.pages("/reviews", state="approved")
    if said is None:  # it says nothing about an approval that came later
        await server.post(f"/reviews/{line['id']}/revoke", revocation(server, bundle, signer, **changes))
        assert (await server.get(f"/reviews/{line['id']}"))["state"] == "approved"
        return
    refused = await server.ask("POST", f"/reviews/{line['id']}/revoke", revocation(server, bundle, signer, **changes))
    assert said in expect(refused, status)["detail"]
    (record,) = [item for item in await server.records() if item["kind"] == "refusal"]
    assert record["arguments"]["review"] == line["id"], "a refusal is on the record"


async def test_the_same_said_twice_is_refused_and_a_renewal_is_not(server: Headquarters) -> None:
    bundle = script("return 1\n")
    await server.bring_in(bundle)
    (line,) = await server.pages("/reviews", state="approved")
    path = f"/reviews/{line['id']}/approve"
    again = expect(await server.ask("POST", path, {"approval": approval(server, bundle, reason="again")}), 403)
    assert "bob has approved checks/disk" in again["detail"]
    (record,) = [item for item in await server.records() if item["kind"] == "refusal"]
    assert (record["call"], record["data"]["reason"]) == ("POST /reviews/{identity}/approve", "denied")
    longer = approval(server, bundle, expires="2027-12-31T00:00:00Z")
    await server.post(path, {"approval": longer})
    await server.post(path, {"approval": approval(server, bundle, grant={"deny": [{"call": "fs.read"}]})})
    shown = await server.get(f"/reviews/{line['id']}")
    assert len([each for each in shown["history"] if each["what"] == "approved"]) == 3


@pytest.mark.parametrize(
    ("signer", "changes", "reason"),
    [("ann", {}, "self_approval"), ("exp", {}, "not_approved"), ("cid", {"tier": "inspect"}, "not_approved")],
)
async def test_an_approval_that_does_not_count_is_refused_on_the_record(
    server: Headquarters, signer: str, changes: dict[str, Any], reason: str
) -> None:
    """By the author, with an expired key, for a tier above the key's."""
    world = server.world
    old = {"name": "exp", "key": world.key("exp").public.to_text(), "roles": [{"role": "reviewer", "tier": "admin"}]}
    members = [world.member(name) for name in ("ann", "bob", "cid")] + [old | {"expires": "2026-01-01T00:00:00Z"}]
    await server.put_roster(2, keys=members)
    bundle = script("return 1\n", tier="inspect")
    line = await open_review(server, bundle)
    signed = approval(server, bundle, signer, **({"tier": "observe"} | changes))
    refused = expect(await server.ask("POST", f"/reviews/{line['id']}/approve", {"approval": signed}), 403)
    assert refused["reason"] == reason
    (record,) = [item for item in await server.records() if item["kind"] == "refusal"]
    assert (record["data"]["reason"], record["arguments"]["review"]) == (reason, line["id"])


def approval(server: Headquarters, bundle: Bundle, signer: str = "bob", **changes: Any) -> dict[str, Any]:
    about = {"name": bundle.manifest.name, "version": bundle.manifest.version, "digest": bundle.digest}
    return server.world.approval(signer, **(about | changes)).to_plain()
