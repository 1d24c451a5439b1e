"""``state.*``, ``rate`` and ``dedup`` as scripts of both languages see them."""

from __future__ import annotations

from typing import Any

import pytest
from running import AllPermitted, perform, run

from protocol.errors import ArgumentError, OutriderError, UnavailableError
from protocol.tiers import Tier
from sandbox.launch import Sandbox
from stdlib.host import RunContext
from stdlib.store import Store

LUA = """
state.set("table", {a = 1, b = {2, 3}})
state.set("list", {1, 2})
state.set("empty", {})
state.set("bytes", "\\255\\0")
local t = state.get("table")
local first, again = dedup("key", 60), dedup("key", 60)
return {
  a = t.a, b = t.b, list = state.get("list"), none = state.get("nothing"), bytes = state.get("bytes"),
  runs = state.incr("runs") + state.incr("runs", {by = 2}), half = state.incr("half", 0.5),
  cas = {state.cas("own", nil, "me"), state.cas("own", nil, "you"), state.cas("table", {a = 1, b = {2, 3}}, {c = 1})},
  c = state.get("table").c, gone = state.delete("list"), again = state.delete("list"),
  keys = state.keys(), some = state.keys("ta"), first = first, second = again,
  rate = rate("rx", 10).reason, number = rate("rx", 20).delta ~= nil or rate("rx", 20).reason ~= nil,
}
"""
PYTHON = """
state.set("table", {"a": 1, "b": [2, 3]})
state.set("list", [1, 2])
state.set("empty", {})
state.set("bytes", b"\\xff\\0")
t = state.get("table")
first, again = dedup("key", 60), dedup("key", 60)
result = {
    "a": t["a"], "b": t["b"], "list": state.get("list"), "bytes": state.get("bytes"),
    "runs": state.incr("runs") + state.incr("runs", by=2), "half": state.incr("half", 0.5),
    "cas": [state.cas("own", None, "me"), state.cas("own", None, "you"),
            state.cas("table", {"a": 1, "b": [2, 3]}, {"c": 1})],
    "c": state.get("table")["c"], "gone": state.delete("list"), "again": state.delete("list"),
    "keys": state.keys(), "some": state.keys("ta"), "first": first, "second": again,
    "rate": rate("rx", 10)["reason"], "number": "reason" in rate("rx", 20),
}
"""
EXPECTED: dict[str, Any] = {
    "a": 1, "b": [2, 3], "list": [1, 2], "bytes": b"\xff\0", "runs": 4, "half": 0.5, "cas": [True, False, True], "c": 1,
    "gone": True, "again": False, "keys": ["bytes", "empty", "half", "own", "runs", "table"], "some": ["table"],
    "first": True, "second": False, "rate": "first", "number": True,
}  # fmt: skip


@pytest.mark.parametrize(("language", "source"), [("lua", LUA), ("python", PYTHON)])
async def test_both_languages_remember_alike(sandbox: Sandbox, language: str, source: str) -> None:
    outcome = await run(sandbox, language, source, Tier.COMPUTE)
    assert outcome.status == "ok", outcome.reason
    assert outcome.result == EXPECTED


async def test_what_is_kept_is_there_in_the_next_run(sandbox: Sandbox) -> None:
    store = Store()
    for wanted in (1, 2, 3):
        context = RunContext(store=store.of("checks/a"))
        outcome = await run(sandbox, "lua", 'return state.incr("runs")', Tier.COMPUTE, context=context)
        assert outcome.result == wanted
    context = RunContext(store=store.of("checks/b"))
    assert (await run(sandbox, "lua", "return #state.keys()", Tier.COMPUTE, context=context)).result == 0
    store.close()


BAD: list[tuple[str, list[Any], str]] = [
    ("state.get", [""], "key"), ("state.get", ["a\0"], "key"), ("state.get", [5], "key"),
    ("state.get", ["x" * 201], "key"),
    ("state.set", ["k"], "value"), ("state.set", ["k", None], "value"), ("state.set", ["k", "x" * 20_000], "value"),
    ("state.set", ["k", {"$handle": 1}], "value"), ("state.set", ["k", [{"a": {"$handle": 1}}]], "value"),
    ("state.cas", ["k", None, {"$handle": 1}], "value"), ("state.incr", ["k", "1"], "by"),
    ("state.incr", ["k", float("nan")], "by"), ("state.incr", ["k", True], "by"), ("state.incr", ["k", 2**60], "by"),
    ("rate", ["k", -1], "value"), ("rate", ["k", float("nan")], "value"), ("rate", ["k", "5"], "value"),
    ("dedup", ["k", 0], "ttl"), ("dedup", ["k", -5], "ttl"), ("dedup", ["k", float("inf")], "ttl"),
    ("dedup", ["k"], "ttl"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args", "parameter"), BAD, ids=lambda item: repr(item)[:30])
async def test_what_is_wrong_names_the_parameter_and_changes_nothing(
    name: str, args: list[Any], parameter: str
) -> None:
    store = Store()
    with pytest.raises(ArgumentError) as caught:
        await perform(name, *args, run=RunContext(store=store.of("checks/a")), passage=AllPermitted())
    assert caught.value.parameter == parameter
    with store.transaction() as connection:
        assert connection.execute("SELECT count(*) FROM items").fetchone() == (0,)
    store.close()


@pytest.mark.parametrize("name", ["state.get", "state.keys", "state.delete"])
async def test_where_nothing_is_kept_it_says_so(name: str) -> None:
    with pytest.raises(UnavailableError, match="nothing is kept"):
        await perform(name, "k", run=RunContext())


async def test_a_secret_does_not_reach_what_is_kept() -> None:
    store = Store()
    context = RunContext(store=store.of("checks/a"))
    context.redactor.add("db", b"hunter2!")
    await perform("state.set", "k", {"a": ["it is hunter2!"]}, run=context)
    await perform("state.cas", "l", None, "hunter2!", run=context)
    assert store.of("checks/a").get("k") == {"a": ["it is [secret db]"]}
    assert store.of("checks/a").get("l") == "[secret db]"
    store.close()


async def test_an_error_of_the_store_is_one_of_ours(sandbox: Sandbox) -> None:
    store = Store()
    store.close()
    with pytest.raises(OutriderError):
        await perform("state.get", "k", run=RunContext(store=store.of("checks/a")))
