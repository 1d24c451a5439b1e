"""An id by its beginning: the one that is meant, or a refusal that says why, and nothing of what one may not see."""

from __future__ import annotations

from typing import Any

import pytest
from headquarters import Headquarters, refused, script
from sqlalchemy import insert

from protocol.identities import MAX_CHARACTERS, Kind, is_whole
from server.access import Caller
from server.questions import Question
from server.services import identities
from server.store.tables import runs

ADMIN = Caller("t", "admin", ("admin",), 1 << 60)


def add_runs(server: Headquarters, *ids: str) -> None:
    rows = [
        {"id": each, "agent": "a", "script": "a/b", "version": "1", "digest": "d", "status": "ok", "principal": "p",
         "purpose": "", "created_us": 1}
        for each in ids
    ]  # fmt: skip
    server.core.database.submit(lambda connection: connection.execute(insert(runs), rows)).result()


async def meant(server: Headquarters, beginning: str, kind: str, role: str = "admin") -> Any:
    return await server.get("/ids", role=role, beginning=beginning, kind=kind)


async def test_a_beginning_stands_for_the_one_id_that_begins_so(bare: Headquarters) -> None:
    add_runs(
        bare, "aaaaaaaaaaaaaaa1", "aaaaaabbbbbbbbb2", "aaaaab0000000000", "aaaaaa_", "run_00000000000000000000000a"
    )
    assert await meant(bare, "aaaaaab", "run") == {"id": "aaaaaabbbbbbbbb2"}
    assert (await meant(bare, "run_00", "run"))["id"] == "run_00000000000000000000000a"
    assert (await meant(bare, "aaaaaaaaaaaaaaa1", "run"))["id"] == "aaaaaaaaaaaaaaa1"
    refused(await bare.ask("GET", "/ids", beginning="AAAAAAB", kind="run"), 404, "not_found")


async def test_several_are_named_and_never_guessed_between(bare: Headquarters) -> None:
    add_runs(bare, *(f"abcdef000000000{number}" for number in range(4)))
    told = refused(await bare.ask("GET", "/ids", beginning="abcdef", kind="run"), 409, "conflict")
    assert told["detail"] == "'abcdef' is the beginning of more than one run: " + ", ".join(
        f"abcdef000000000{number}" for number in range(4)
    )
    add_runs(bare, *(f"abcdef00000000f{number}" for number in range(9)))
    told = refused(await bare.ask("GET", "/ids", beginning="abcdef", kind="run"), 409, "conflict")
    assert told["detail"].count("abcdef0") == identities.MAX_NAMED
    assert told["detail"].endswith(" and more")


async def test_a_whole_id_stands_for_itself_though_others_begin_with_it(bare: Headquarters) -> None:
    add_runs(bare, "abcdef", "abcdef01")
    assert (await meant(bare, "abcdef", "run"))["id"] == "abcdef"


async def test_ids_are_made_in_the_form_of_their_kind(server: Headquarters) -> None:
    """Else a whole id would be looked up each time, or a beginning be taken for a whole one."""
    await server.publish(script())
    scope = {"kinds": ["files"], "tier": "inspect", "target": "web-1", "reason": "T-1"}
    hook = {"url": "https://hooks.example.net/7", "events": []}
    made = {
        Kind.REVIEW: (await server.pages("/reviews"))[0]["id"],
        Kind.GRANT: (await server.post("/grants", {"who": "hal", "scripts": "a/b", "target": "web-1"}, 201))["id"],
        Kind.ACCESS: (await server.post("/access", {"who": "tom", **scope}, 201))["id"],
        Kind.REQUEST: (await server.post("/requests", {"ttl_s": 3600, **scope}, 201))["id"],
        Kind.WEBHOOK: (await server.post("/webhooks", hook, 201))["id"],
    }
    for kind, identity in made.items():
        assert is_whole(identity, kind), (kind, identity)
        assert (await meant(server, identity[:-1], kind.value))["id"] == identity


@pytest.mark.parametrize("kind", list(Kind))
async def test_of_every_kind_there_may_be_none(bare: Headquarters, kind: Kind) -> None:
    told = refused(await bare.ask("GET", "/ids", beginning="zzzzzz", kind=kind.value), 404, "not_found")
    assert f"there is no {kind.value} 'zzzzzz'" in told["detail"]


async def test_the_review_of_a_private_version_is_not_there_for_who_may_not_see_it(server: Headquarters) -> None:
    """Neither found, nor in the way of another one."""
    await server.publish(script(more="visibility: private\n"))
    (review,) = await server.pages("/reviews")
    assert (await meant(server, review["id"][:6], "review", role="reviewer"))["id"] == review["id"]
    refused(await server.ask("GET", "/ids", role="viewer", beginning=review["id"][:6], kind="review"), 404, "not_found")
    refused(await server.ask("GET", "/ids", role="viewer", beginning=review["id"], kind="review"), 404, "not_found")


@pytest.mark.parametrize(
    ("role", "kind", "status"),
    [
        ("viewer", "webhook", 403),
        ("operator", "message", 403),
        ("viewer", "question", 403),
        ("auditor", "question", 200),
    ],
)
async def test_whose_list_somebody_may_not_read_they_look_up_nothing(
    bare: Headquarters, role: str, kind: str, status: int
) -> None:
    bare.core.consents.add(Question("a", "web-1", {"id": "q_0123456789ab", "asked_us": 1, "expires_us": 1 << 60}))
    answer = await bare.ask("GET", "/ids", role=role, beginning="q_0123", kind=kind)
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize(
    "wrong",
    [
        {"beginning": "abcde"}, {"beginning": ""}, {"beginning": "%25%25%25%25%25%25"}, {"beginning": "abcdef'--"},
        {"beginning": "______%"}, {"beginning": "a" * (MAX_CHARACTERS + 1)}, {"beginning": "abcdef\0"},
        {"kind": "nothing"}, {"kind": ""}, {"kind": "tokens"},
    ],
)  # fmt: skip
async def test_bad_input_is_refused(bare: Headquarters, wrong: dict[str, Any]) -> None:
    add_runs(bare, "abcdef0000000000")
    answer = await bare.ask("GET", "/ids", **({"beginning": "abcdef", "kind": "run"} | wrong))
    assert answer.status_code in {400, 422}, answer.text


async def test_without_a_token_nothing_is_told(bare: Headquarters) -> None:
    answer = await bare.api.get("/api/v1/ids", params={"beginning": "abcdef", "kind": "run"})
    assert answer.status_code == 401


@pytest.mark.parametrize("kind", [kind for kind in Kind if kind is not Kind.QUESTION])
async def test_a_look_costs_a_range_of_an_index(bare: Headquarters, kind: Kind) -> None:
    query = identities.in_range(kind, ADMIN, "abcdef")
    compiled = query.compile(dialect=bare.core.database.read_now(lambda connection: connection.dialect))
    plain = str(compiled)
    values = tuple(compiled.params[name] for name in compiled.positiontup or ())
    told = bare.core.database.read_now(
        lambda connection: connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {plain}", values).all()
    )
    steps = [str(row[-1]) for row in told]
    assert not [step for step in steps if step.startswith("SCAN")], steps
    assert any(("(id>? AND id<?)" in step) or ("(message>? AND message<?)" in step) for step in steps), steps
