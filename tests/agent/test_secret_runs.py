"""Secrets in runs on a host: for whom they are, and that nothing the host keeps or sends holds a value."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from premises import AGENT, approved, script
from works import Works
from world import NOW

from protocol.ledger import encode_record
from protocol.sealing import Context, seal
from protocol.signing import sign
from protocol.tiers import Tier
from protocol.timestamps import stamp
from sandbox.parties import CallEntry
from stdlib import call_specs
from stdlib.call_specs import CallSpec
from stdlib.catalogue import load
from stdlib.declaring import call
from stdlib.handles import Private

pytestmark = pytest.mark.asyncio(loop_scope="module")

VALUE = b"correct horse battery"
CEILING = "highest_tier: inspect\naccept_server_word: [run, schedule]\n"


def declared() -> CallSpec:
    """Declare a call that no product has, and take it out of the catalogue again."""

    @call("check.echo", tier=Tier.COMPUTE, lua="x")
    async def echo(data: Private) -> str:
        """Give back what it got, as a careless program does."""
        return f"got {data.reveal().decode()}"

    return call_specs._declared.pop("check.echo")


ECHO = declared()


class Table:
    """The catalogue, and the call of this test."""

    def find(self, name: str) -> CallEntry | None:
        return ECHO if name == "check.echo" else load().find(name)


@pytest.fixture
def ready(works: Works) -> Works:
    """A host with a secret for one namespace."""
    works.premises.allow(CEILING)
    works.sessions._worker._table = Table()
    assert give(works, "db", VALUE, "checks/db/**") == []
    return works


def give(works: Works, name: str, value: bytes, *scripts: str, version: int = 1) -> list[Any]:
    box = seal(value, works.opening.public, Context(AGENT, name, version, scripts))
    return list(works.secrets.set([{"name": name, "version": version, "scripts": list(scripts), "sealed": box}]))


async def ran(works: Works, source: str, *, name: str = "checks/db/load", run_id: str = "run_1") -> dict[str, Any]:
    bundle = script(source, name=name, tier="inspect")
    works.repository.put(approved(works.world, bundle))
    return (await works.run(bundle.digest, run_id=run_id)).data


async def test_no_record_holds_what_a_program_repeats(ready: Works) -> None:
    source = """
local told = check.echo({data = secret("db")})
print(told)
log.info(told)
check.status(told)
emit({told = told})
progress(1, told)
check.metric("m", "string", told)
state.set("told", told)
pcall(fs.read, "/" .. told)
return {told, state.get("told")}
"""
    ended = await ran(ready, source)
    assert ended["status"] == "ok", ended
    assert ended["result"] == ["got [secret db]", "got [secret db]"]
    assert "got [secret db]" in (ended["output"], ended["output"].strip())
    assert (ended["status_text"], ended["metrics"][0]["value"]) == ("got [secret db]", "got [secret db]")
    assert (ended["rows"], ended["progress"]["text"]) == ([{"told": "got [secret db]"}], "got [secret db]")
    for record in await ready.premises.records():
        assert VALUE not in encode_record(record), record
    for path in ready.premises.state.path.rglob("*"):
        if path.is_file():
            assert VALUE not in path.read_bytes(), path


async def test_an_error_that_ends_the_run_holds_none(ready: Works) -> None:
    ended = await ran(ready, 'error(check.echo({data = secret("db")}))\n')
    assert (ended["status"], "[secret db]" in ended["reason"]) == ("error", True)


@pytest.mark.parametrize("name", ["checks/dbx/load", "checks/db", "checks/other"])
async def test_who_is_not_among_its_scripts_gets_nothing(ready: Works, name: str) -> None:
    ended = await ran(ready, 'local ok, e = pcall(secret, "db") return {ok, e.code, e.message}\n', name=name)
    assert ended["result"][:2] == [False, "denied"]
    assert name in ended["result"][2]


async def test_a_tier_that_may_not_look_gets_none(ready: Works) -> None:
    bundle = script('return secret("db").name\n', name="checks/db/load", tier="observe")
    ready.repository.put(approved(ready.world, bundle))
    assert (await ready.run(bundle.digest)).outcome == "denied"


async def test_what_is_only_tried_gets_none(ready: Works) -> None:
    """What nobody approved yet has the name that the secret is for: its reviewer lets it look, not have that."""
    ready.premises.allow(CEILING + "dry_runs: true\n")
    bundle = script('local ok, e = pcall(secret, "db") return {ok, e.code}\n', name="checks/db/load", tier="inspect")
    entry = approved(ready.world, bundle)
    body = {
        "type": "order", "action": "run", "agents": [AGENT], "digest": bundle.digest, "parameters": {}, "dry_run": True,
        "issued": stamp(NOW), "expires": stamp(NOW + timedelta(hours=1)), "nonce": "n1",
    }  # fmt: skip
    order = sign("order", body, ready.world.key("bob")).to_plain()
    ready.repository.put(replace(entry, approvals=()))
    tried = await ready.run(bundle.digest, order=order, dry_run=True)
    assert tried.data["result"] == [False, "unavailable"]
    ready.repository.put(entry)
    assert (await ran(ready, 'return secret("db").name\n', run_id="run_2"))["result"] == "db"


async def test_a_manifest_narrows_it_by_name(ready: Works) -> None:
    give(ready, "api", VALUE, "checks/**")
    more = "needs: [{call: secret, names: [other]}]\n"
    bundle = script('return secret("api").name\n', name="checks/db/load", tier="inspect", more=more)
    ready.repository.put(approved(ready.world, bundle))
    assert (await ready.run(bundle.digest)).outcome == "denied"


async def test_one_that_was_taken_away_while_it_is_held_is_not_opened(ready: Works) -> None:
    source = """
local held = secret("db")
log.info("go")
local ok, e = pcall(check.echo, {data = held})
return {ok, e.code}
"""
    require = ready.secrets.require
    asked = 0

    def taken_away(name: str, who: str) -> Any:
        nonlocal asked
        asked += 1
        if asked == 2:
            ready.secrets.set([])
        return require(name, who)

    ready.secrets.require = taken_away  # type: ignore[method-assign]  # between the handle and its use
    assert (await ran(ready, source))["result"] == [False, "not_found"]


async def test_a_script_that_is_called_uses_its_own_and_gives_none_back(ready: Works) -> None:
    inner = script('return {check.echo({data = secret("db")}), {a = 1}}\n', name="checks/db/inner", tier="inspect")
    more = (
        f"requires: [{{name: checks/db/inner, digest: '{inner.digest}'}}]\n"
        "needs: [{call: script.call, names: [checks/db/inner]}, {call: secret}]\n"
    )
    source = 'local ok, e = pcall(secret, "db") return {script.call("checks/db/inner"), ok, e.code}\n'
    outer = script(source, name="checks/outer", tier="inspect", more=more)
    for bundle in (inner, outer):
        ready.repository.put(approved(ready.world, bundle))
    ended = await ready.run(outer.digest)
    assert ended.data["result"] == [["got [secret db]", {"a": 1}], False, "denied"]
