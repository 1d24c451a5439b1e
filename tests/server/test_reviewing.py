"""What a reviewer sees: what changed since the last approved version, what the code can do, what happened before."""

from __future__ import annotations

import time
from typing import Any

import pytest
from headquarters import Headquarters, expect, script

from protocol.bundle import Bundle
from server.services import insights, reviews

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
    assert (shown["tests"], shown["tests_passed"]) == ([], None)


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


async def test_what_is_kept_is_what_reading_finds(server: Headquarters) -> None:
    bundle = inspect(TWO_RISKS, more=MORE)
    expect(await server.publish(bundle), 201)
    kept = await server.core.database.read(lambda connection: insights.kept(connection, bundle.digest))
    read = await server.core.database.read(lambda connection: insights.read(server.core, connection, bundle)[0])
    assert kept == read


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


async def test_publishing_takes_little_time(server: Headquarters) -> None:
    """50 ms for 20 kB are wanted; held here is that it is not many times that, in processor time."""
    source = "".join(
        f"local s{n} = fs.space('/srv/{n}')\nif s{n}.total > {n} then log.info('{n}') end\n" for n in range(150)
    )
    expect(await server.publish(inspect(source)), 201)
    source += "-- again, with everything loaded\n"
    started = time.process_time()
    expect(await server.publish(inspect(source, "1.1.0")), 201)
    assert time.process_time() - started < 0.5
