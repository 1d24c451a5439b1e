"""Scripts that call scripts: each at its own tier and nobody else's, within what its caller has left, all on record."""

from __future__ import annotations

from typing import Any

import pytest
from premises import approved, script, until
from works import Works
from world import World

from agent.cache import Entry
from agent.nesting import MAX_DEPTH
from agent.runs import RunRequest
from agent.work import Worker
from protocol.bundle import Bundle
from protocol.ledger import Record
from protocol.signing import sign

pytestmark = pytest.mark.asyncio(loop_scope="module")

CEILING = "highest_tier: inspect\naccept_server_word: [run, schedule]\n"


def callee(source: str = 'return {got = param("n")}\n', *, name: str = "checks/inner", **more: Any) -> Bundle:
    parameters = "parameters: {n: {type: integer}}\n"
    return script(source, name=name, more=parameters + more.pop("more", ""), **more)


def caller(source: str, *inner: Bundle, names: str | None = None, more: str = "", **others: Any) -> Bundle:
    pins = ", ".join(f"{{name: {item.manifest.name}, digest: '{item.digest}'}}" for item in inner)
    listed = ", ".join(item.manifest.name for item in inner) if names is None else names
    needs = f"requires: [{pins}]\nneeds:\n  - {{call: script.call, names: [{listed}]}}\n  - {{call: fs.stat}}\n"
    return script(source, more=needs + more, **others)


def offered(works: Works, *bundles: Bundle, **changes: Any) -> None:
    for bundle in bundles:
        works.repository.put(approved(works.world, bundle, **changes))


CALL = 'return script.call("checks/inner", {n = 5})\n'
CATCH = """
local done, e = pcall(script.call, "checks/inner", {n = 5})
return {done, type(e) == "table" and e.code or e, type(e) == "table" and e.message or ""}
"""


async def caught(works: Works, inner: Bundle, **more: Any) -> tuple[str, str]:
    """Return code and message of the error that a caller catches."""
    outer = caller(CATCH, inner, **more)
    offered(works, outer)
    ended = await works.run(outer.digest)
    assert ended.outcome == "ok", ended.data
    done, code, message = ended.data["result"]
    assert done is False
    return code, message


async def runs(works: Works) -> dict[str, tuple[Record, Record]]:
    starts = {record.run: record for record in await works.premises.records("run.start")}
    ends = {record.run: record for record in await works.premises.records("run.end")}
    assert starts.keys() == ends.keys()
    return {run: (starts[run], ends[run]) for run in starts}


async def test_each_script_has_rows_and_metrics_of_its_own(works: Works) -> None:
    """As many as its own limits say: what one reports is part of the end of its own run."""
    inner = callee("for i = 1, 3 do emit({i = i}) end\nreturn ctx.budget().rows\n", more="limits: {rows: 4}\n")
    outer = caller(
        'local left = script.call("checks/inner", {n = 5})\nemit({a = 1})\nlocal done, failure = pcall(emit, {a = 2})\n'
        "return {left, done, failure.message, ctx.budget().metrics}\n",
        inner, more="limits: {rows: 1, metrics: 7}\n",
    )  # fmt: skip
    offered(works, inner, outer)
    ended = await works.run(outer.digest)
    assert (ended.outcome, ended.data["result"]) == ("ok", [1, False, "rows: 2 used, the limit is 1", 7]), ended.data


async def test_a_script_gets_the_result_of_another(works: Works) -> None:
    inner = callee()
    outer = caller(CALL, inner)
    offered(works, inner, outer)
    ended = await works.run(outer.digest)
    assert (ended.outcome, ended.data["result"]) == ("ok", {"got": 5}), ended.data


async def test_by_digest_too(works: Works) -> None:
    inner = callee()
    outer = caller(f'return script.call("{inner.digest}", {{n = 6}})\n', inner)
    offered(works, inner, outer)
    assert (await works.run(outer.digest)).data["result"] == {"got": 6}


async def test_its_records_name_the_run_that_called_it(works: Works) -> None:
    inner = callee("log.info('inner') return 1\n")
    outer = caller(CALL, inner)
    offered(works, inner, outer)
    await works.run(outer.digest)
    found = await runs(works)
    (child,) = found.keys() - {"run_1"}
    for record in found[child]:
        assert record.data["parent"] == "run_1"
        assert (record.data["script"], record.data["digest"]) == ("checks/inner", inner.digest)
        assert record.principal == "oli"
    assert all("parent" not in record.data for record in found["run_1"])
    calls = [(record.run, record.call) for record in await works.premises.records("call")]
    assert calls == [(child, "log.info"), ("run_1", "script.call")]
    assert works.premises.spool.open_runs() == []


async def test_it_is_on_the_account_of_the_run_that_somebody_wanted(
    works: Works, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is counted for one run, as questions to the host's owner are, is counted for all that came of it."""
    seen, run = [], Worker.run

    async def noted(self: Worker, request: RunRequest, *rest: Any) -> Any:
        seen.append((request.depth, request.chain))
        return await run(self, request, *rest)

    monkeypatch.setattr(Worker, "run", noted)
    inner = callee()
    outer = caller(CALL, inner)
    offered(works, inner, outer)
    await works.run(outer.digest)
    assert seen == [(1, "run_1"), (2, "run_1")]


async def test_it_runs_at_its_own_tier_and_not_at_its_callers(works: Works) -> None:
    """What is called may read; its caller may not, before and after."""
    works.premises.allow(CEILING)
    inner = callee('return fs.read("/etc/hostname") ~= nil\n', tier="inspect")
    outer = caller('local can = script.call("checks/inner") return {can, pcall(fs.read, "/etc/hostname")}\n', inner)
    offered(works, inner, outer)
    can, own, *_ = (await works.run(outer.digest)).data["result"]
    assert (can, own) == (True, False)


async def test_a_caller_lends_it_nothing(works: Works) -> None:
    works.premises.allow(CEILING)
    inner = callee('return fs.read("/etc/hostname") ~= nil\n', tier="observe")
    offered(works, inner)
    code, message = await caught(works, inner, tier="inspect")
    assert code == "denied"
    assert "checks/inner" in message


async def test_never_above_the_ceiling(works: Works) -> None:
    inner = callee(tier="inspect")
    offered(works, inner)
    code, message = await caught(works, inner)
    assert (code, "ceiling" in message) == ("untrusted", True)
    assert len(await runs(works)) == 1


async def test_what_the_needs_do_not_name_is_not_called(works: Works) -> None:
    inner = callee()
    offered(works, inner)
    code, message = await caught(works, inner, names="checks/other")
    assert code == "denied"
    assert "needs" in message
    assert len(await runs(works)) == 1


async def test_without_needs_nothing_is_called(works: Works) -> None:
    """A manifest without needs asks for all of its tier, but not for scripts."""
    inner = callee()
    outer = script(CATCH, more=f"requires: [{{name: checks/inner, digest: '{inner.digest}'}}]\n")
    offered(works, inner, outer)
    assert (await works.run(outer.digest)).data["result"][1] == "denied"


@pytest.mark.parametrize("name", ["checks/unpinned", "sha256:" + "0" * 64, "", "../x"])
async def test_what_is_not_pinned_is_not_called(works: Works, name: str) -> None:
    inner = callee()
    outer = caller(f'local ok, e = pcall(script.call, "{name}") return e.code\n', inner, names='"**"')
    offered(works, inner, outer)
    assert (await works.run(outer.digest)).data["result"] == "not_found"


async def test_what_nobody_approved_stops_the_caller_before_it_begins(works: Works) -> None:
    inner = callee()
    outer = caller(CALL, inner)
    offered(works, outer)
    works.repository.put(Entry(inner, approved(works.world, inner).publication, ()))
    assert await works.reason(outer.digest) == "not_approved"


async def test_what_is_withdrawn_while_its_caller_runs_is_not_called(works: Works) -> None:
    inner = callee()
    outer = caller("while not time.now() do end " + CATCH, inner)
    offered(works, inner, outer)
    admitted = works.admission.admit_called

    async def withdrawn_first(*given: Any) -> Any:
        told = works.world.withdrawal(digest=inner.digest, name="checks/inner")
        works.premises.trust.add_withdrawals([told], works.premises.now())
        return await admitted(*given)

    works.admission.admit_called = withdrawn_first  # type: ignore[method-assign]  # that moment and no other
    assert (await works.run(outer.digest)).data["result"][1] == "untrusted"


async def test_its_parameters_are_its_own(works: Works) -> None:
    inner = callee()
    outer = caller('local ok, e = pcall(script.call, "checks/inner", {n = "x"}) return e.code\n', inner)
    offered(works, inner, outer)
    assert (await works.run(outer.digest)).data["result"] == "invalid_argument"
    assert len(await runs(works)) == 1


async def test_an_error_of_it_can_be_caught(works: Works) -> None:
    inner = callee("error('it broke')\n")
    offered(works, inner)
    code, message = await caught(works, inner)
    assert (code, "it broke" in message) == ("unavailable", True)


@pytest.mark.parametrize(
    ("source", "limit", "word"),
    [
        ("while true do end\n", "limits: {wall: 200ms}\n", "wall"),
        ("for i = 1, 20 do log.info('x') end\n", "limits: {calls: 10}\n", "calls"),
        ("local t = {} for i = 1, 1e9 do t[i] = ('x'):rep(1000) .. i end\n", "limits: {memory: 16MiB}\n", "memory"),
    ],
)
async def test_that_it_was_killed_can_be_caught(works: Works, source: str, limit: str, word: str) -> None:
    inner = callee(source, more=limit)
    offered(works, inner)
    code, message = await caught(works, inner)
    assert code == "budget"
    assert word in message
    child = next(end for _, end in (await runs(works)).values() if end.run != "run_1")
    assert child.outcome == "killed"


async def test_calls_are_shared(works: Works) -> None:
    inner = callee("for i = 1, 8 do log.info('x') end return 1\n")
    source = """
local first = script.call("checks/inner")
local done, e = pcall(script.call, "checks/inner")
return {first, done, e.code}
"""
    outer = caller(source, inner, more="limits: {calls: 12}\n")
    offered(works, inner, outer)
    ended = await works.run(outer.digest)
    assert ended.outcome in ("ok", "killed"), ended.data
    ends = [end for _, end in (await runs(works)).values() if end.run != "run_1"]
    assert [end.outcome for end in ends] == ["ok", "killed"]
    assert sum(end.data["usage"]["calls"] for end in ends) <= 12


async def test_output_is_shared(works: Works) -> None:
    inner = callee("print(('x'):rep(60 * 1024))\n")
    source = 'for i = 1, 3 do pcall(script.call, "checks/inner") end return 1\n'
    outer = caller(source, inner, more="limits: {output: 100KiB}\n")
    offered(works, inner, outer)
    await works.run(outer.digest)
    ends = [end for _, end in (await runs(works)).values() if end.run != "run_1"]
    assert sum(len(end.data["output"]) for end in ends) <= 100 * 1024
    assert ends[-1].data["truncated"]


async def test_time_is_shared(works: Works) -> None:
    inner = callee("return ctx.deadline()\n", more="limits: {wall: 30s}\n")
    outer = caller(CALL, inner, more="limits: {wall: 20s}\n")
    offered(works, inner, outer)
    assert (await works.run(outer.digest)).data["result"] <= 20.0


async def test_with_the_time_of_its_caller_its_own_is_over(works: Works) -> None:
    inner = callee("while true do end\n", more="limits: {wall: 20s, cpu: 2s}\n")
    outer = caller(CALL, inner, more="limits: {wall: 300ms}\n")
    offered(works, inner, outer)
    assert (await works.run(outer.digest)).outcome == "killed"
    ends = [end for _, end in (await runs(works)).values() if end.run != "run_1"]
    assert {end.outcome for end in ends} <= {"killed"}, "or it had not begun by then"


async def test_so_deep_and_no_deeper(works: Works) -> None:
    chain = [script("return 'end'\n", name="checks/deep0")]
    for number in range(1, MAX_DEPTH + 1):
        source = f"""
local done, value = pcall(script.call, "checks/deep{number - 1}")
if done then return {{value}} end
return value.code
"""
        chain.append(caller(source, chain[-1], name=f"checks/deep{number}"))
    offered(works, *chain)
    allowed = await works.run(chain[MAX_DEPTH - 1].digest)
    assert allowed.data["result"] == [[["end"]]]
    too_deep = await works.run(chain[MAX_DEPTH].digest, run_id="run_2")
    assert too_deep.data["result"] == [[["budget"]]]


async def test_who_stops_the_caller_stops_it_too(works: Works) -> None:
    inner = callee("time.sleep(3000)\n")
    outer = caller(CALL, inner, more="limits: {wall: 30s}\n")
    offered(works, inner, outer)
    await works.ask(outer.digest)
    await until(lambda: len(works.premises.spool.open_runs()) == 2)
    works.sessions.cancel("run_1", "enough")
    assert (await works.end()).outcome == "killed"
    child = next(end for _, end in (await runs(works)).values() if end.run != "run_1")
    assert (child.outcome, child.data["reason"]) == ("killed", "its caller was stopped")
    assert works.premises.spool.open_runs() == []


async def test_all_places_taken_by_callers_is_no_standstill(works: Works) -> None:
    """Each caller holds a place and waits; what it calls must not wait for one."""
    inner = callee()
    outer = caller(CALL, inner)
    offered(works, inner, outer)
    for number in range(works.concurrent):
        await works.ask(outer.digest, run_id=f"run_{number}")
    for number in range(works.concurrent):
        assert (await works.end(f"run_{number}")).outcome == "ok"


async def test_a_signed_order_must_cover_it(works: Works, world: World) -> None:
    """Who may order runs at tier operate only must not reach higher by ordering a script that does."""
    works.premises.allow("highest_tier: inspect\naccept_server_word: [run]\n")
    roles = [{"role": "operator", "tier": "observe"}]
    members = [world.member(name) for name in ("ann", "bob")] + [world.member("oli") | {"roles": roles}]
    works.premises.take_roster(2, keys=members)
    inner = callee(tier="inspect")
    outer = caller(CATCH, inner)
    offered(works, inner, outer)
    order = sign("order", {
        "type": "order", "action": "run", "agents": ["agt_0123456789abcdef"], "digest": outer.digest, "parameters": {},
        "issued": "2026-11-23T11:59:00Z", "expires": "2026-11-23T13:00:00Z", "nonce": "n-1",
    }, world.key("oli")).to_plain()  # fmt: skip
    ended = await works.run(outer.digest, order=order)
    assert ended.data["result"][1] == "untrusted", ended.data


async def test_each_remembers_for_itself(works: Works) -> None:
    inner = callee('return {state.incr("n"), state.keys()}\n')
    source = 'state.set("own", 1) local a = script.call("checks/inner") return {a, state.keys()}\n'
    outer = caller(source, inner)
    offered(works, inner, outer)
    assert (await works.run(outer.digest)).data["result"] == [[1, ["n"]], ["own"]]
