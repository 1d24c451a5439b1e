"""``secret``: a script uses a value and never sees it, whatever the programs and servers do that get it.

The call ``probe.echo`` of this test is what such a program does at its worst: it gives back what it got, in every form.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest
from running import AllPermitted, Kept, gate, perform, run

from policies.model import Facts
from protocol.errors import ArgumentError, DeniedError, NotFoundError, UnavailableError
from protocol.tiers import Tier
from sandbox.launch import Sandbox
from sandbox.parties import CallEntry
from stdlib import call_specs
from stdlib.call_specs import CallSpec
from stdlib.catalogue import load
from stdlib.declaring import call
from stdlib.handles import Private
from stdlib.host import RunContext
from stdlib.parameters import Bounds, Length
from stdlib.secrets import GivenSecrets, Secret

VALUE = "hunter2/öä+ 'x\""
RAW = VALUE.encode()
MARK = "[secret db]"


def declared() -> dict[str, CallSpec]:
    """Declare calls that no product has, and take them out of the catalogue again."""
    before = dict(call_specs._declared)

    @call("check.echo", tier=Tier.COMPUTE, lua="x")
    async def echo(data: Private) -> dict[str, Any]:
        """Give back what it got, in every form."""
        value = data.reveal()
        return {
            "text": f"<{value.decode()}>", "bytes": b"<" + value + b">", "hex": value.hex(), value.decode(): 1,
            "base64": base64.b64encode(b"user:" + value).decode(), "deep": [[{"a": value.decode()}]],
        }  # fmt: skip

    @call("check.fail", tier=Tier.COMPUTE, lua="x")
    async def fail(data: Private, kind: Annotated[str, Length(20)] = "unavailable") -> None:
        """Fail with what it got in the text."""
        told = f"cannot log in with {data.reveal().decode()}"
        if kind == "denied":
            raise DeniedError(told, rule=told)
        if kind == "argument":
            raise ArgumentError(told, parameter=told)
        if kind == "bug":
            raise RuntimeError(told)
        raise UnavailableError(told)

    @call("check.shout", tier=Tier.COMPUTE, lua="x")
    def shout(data: Private, size: Annotated[int, Bounds(1, 100)] = 1) -> Iterator[Any]:
        """Give it back as a stream, split."""
        value = b"before " + data.reveal() + b" after"
        for at in range(0, len(value), size):
            yield value[at : at + size]
        yield ""
        yield [{"line": data.reveal().decode()}]
        return data.reveal().decode()

    @call("check.headers", tier=Tier.COMPUTE, lua="x")
    async def headers(headers: dict[str, Private]) -> list[int]:
        """Tell the sizes of what it got."""
        return [len(item.reveal()) for item in headers.values()]

    made = {name: spec for name, spec in call_specs._declared.items() if name not in before}
    for name in made:
        del call_specs._declared[name]
    return made


EXTRA = declared()


class Table:
    """The catalogue, and the calls of this test."""

    def find(self, name: str) -> CallEntry | None:
        return EXTRA.get(name) or load().find(name)


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    rows = [
        {"name": spec.name, "parameters": [item.name for item in spec.parameters], "local": False,
         "maps": [place for place, item in enumerate(spec.parameters) if item.is_map]}
        for spec in EXTRA.values()
    ]  # fmt: skip
    started = await Sandbox.start(bindings=[*load().bindings(), *rows])
    yield started
    await started.close()


def context() -> RunContext:
    return RunContext(secrets=GivenSecrets({"db": RAW, "pin": b"48151623"}))


def nowhere(*values: Any) -> None:
    """No form of the value is in any of these."""
    told = repr(values) + json.dumps(values, default=repr, ensure_ascii=False)
    for form in (
        VALUE,
        "hunter2",
        RAW.hex(),
        base64.b64encode(RAW).decode()[:-4],
        base64.b64encode(b"user:" + RAW).decode()[8:-4],
    ):
        assert form not in told, form


LUA = """
local s = secret("db")
local e = check.echo(s)
print(e.text, e.hex)
log.info(e.text)
check.status(e.text)
check.metric("m", "string", e.text)
return {e, s.name, tostring(s)}
"""
PYTHON = """
s = secret("db")
e = check.echo(s)
print(e["text"], e["hex"])
log.info(e["text"])
check.status(e["text"])
check.metric("m", "string", e["text"])
result = [e, s.name]
"""


@pytest.mark.parametrize(("language", "source"), [("lua", LUA), ("python", PYTHON)])
async def test_a_value_that_comes_back_is_in_nothing_that_the_run_leaves(
    sandbox: Sandbox, language: str, source: str
) -> None:
    run_context, kept = context(), Kept()
    outcome = await run(sandbox, language, source, Tier.INSPECT, kept=kept, context=run_context, table=Table())
    assert outcome.status == "ok", outcome.reason
    nowhere(outcome.output, outcome.result, outcome.reason, kept.records, run_context.metrics, run_context.status_text)
    echoed, name, *_ = outcome.result
    assert echoed["text"] == f"<{MARK}>"
    assert echoed["bytes"] in (f"<{MARK}>", f"<{MARK}>".encode())
    assert (echoed["hex"], echoed["deep"], name) == (MARK, [[{"a": MARK}]], "db")
    assert echoed[MARK] == 1
    assert MARK in outcome.output.decode()


@pytest.mark.parametrize("kind", ["unavailable", "denied", "argument", "bug"])
async def test_an_error_does_not_hold_the_value(sandbox: Sandbox, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    kept = Kept()
    source = f'check.fail(secret("db"), "{kind}")'
    outcome = await run(sandbox, "lua", source, Tier.INSPECT, kept=kept, context=context(), table=Table())
    assert outcome.status == "error"
    cleaned = outcome.without_secrets(context().redactor)
    nowhere(cleaned.reason, kept.records, caplog.text)
    assert (MARK in str(outcome.reason)) is (kind != "bug")
    assert (MARK in caplog.text) is (kind == "bug")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
async def test_a_stream_does_not_give_it_piece_by_piece(sandbox: Sandbox, size: int) -> None:
    source = f"""
local found, rows = {{}}, {{}}
local stream = check.shout(secret("db"), {{size = {size}}})
for item in stream do
  if type(item) == "string" then found[#found + 1] = item else rows[#rows + 1] = item.line end
end
return {{table.concat(found), rows, stream:summary()}}
"""
    outcome = await run(sandbox, "lua", source, Tier.INSPECT, context=context(), table=Table())
    assert outcome.result == [f"before {MARK} after", [MARK], MARK], outcome.reason


async def test_secrets_are_taken_within_maps(sandbox: Sandbox) -> None:
    source = 'return check.headers({A = secret("db"), B = "12345", C = secret("pin")})'
    outcome = await run(sandbox, "lua", source, Tier.INSPECT, context=context(), table=Table())
    assert outcome.status == "ok", outcome.reason
    assert sorted(outcome.result) == sorted([len(RAW), 5, 8])
    source = 'result = check.headers({"A": secret("db"), "B": "12345"})'
    outcome = await run(sandbox, "python", source, Tier.INSPECT, context=context(), table=Table())
    assert sorted(outcome.result) == sorted([len(RAW), 5])


async def test_on_record_stands_the_handle_and_not_the_value(sandbox: Sandbox) -> None:
    kept = Kept()
    await run(sandbox, "lua", 'check.echo(secret("db"))', Tier.INSPECT, kept=kept, context=context(), table=Table())
    told = {record["call"]: record["arguments"] for record in kept.records if record["kind"] == "call"}
    assert told == {"secret": {"name": "db"}, "check.echo": {"data": {"$handle": 1}}}


@pytest.mark.parametrize(
    "argument",
    ['{["$handle"] = 1}', '{["$handle"] = 99}', '{["$handle"] = -1}', '{["$handle"] = "1"}', "{}", "5", "true", "nil"],
)
async def test_no_handle_can_be_made_up(sandbox: Sandbox, argument: str) -> None:
    source = f"return check.echo({argument})"
    outcome = await run(sandbox, "lua", source, Tier.INSPECT, context=context(), table=Table())
    assert outcome.status == "error"
    nowhere(outcome.reason)


async def test_without_a_secret_nothing_is_looked_for(sandbox: Sandbox) -> None:
    """A value that was never opened is not known, and costs nothing."""
    run_context = context()
    outcome = await run(sandbox, "lua", 'return secret("db").name', Tier.INSPECT, context=run_context, table=Table())
    assert outcome.result == "db"
    assert run_context.redactor.is_idle


async def test_it_needs_its_tier_and_its_name() -> None:
    reply = await gate(Tier.OBSERVE, context=context()).call("secret", ["db"], {})
    assert reply.error is not None
    assert reply.error.code == "denied"
    reply = await gate(Tier.INSPECT, context=context()).call("secret", ["no-such"], {})
    assert reply.error is not None
    assert reply.error.code == "not_found"


@pytest.mark.parametrize("name", ["", "../x", "DB", "a b", "a/b", "x" * 101, 5, None])
async def test_a_name_has_its_form(name: Any) -> None:
    with pytest.raises(ArgumentError) as caught:
        await perform("secret", name, run=context())
    assert caught.value.parameter == "name"


async def test_a_run_without_secrets_says_so() -> None:
    with pytest.raises(UnavailableError):
        await perform("secret", "db", run=RunContext())


async def test_it_is_opened_only_when_it_is_used() -> None:
    opened: list[str] = []

    class Source:
        def require(self, name: str) -> None:
            if name != "db":
                raise NotFoundError(name)

        def open(self, name: str) -> bytes:
            opened.append(name)
            return RAW

    run_context = RunContext(secrets=Source())
    made: Secret = await perform("secret", "db", run=run_context)
    assert opened == []
    assert made.fields() == {"name": "db"}
    assert VALUE not in repr(vars(made))
    assert made.reveal() == RAW
    assert opened == ["db"]
    with pytest.raises(NotFoundError):
        await perform("secret", "other", run=run_context)


async def test_what_is_decided_on_is_the_name() -> None:
    spec = load().find("secret")
    assert spec is not None
    with spec.prepare(None, context(), spec.bind(["db"], {}), AllPermitted()) as prepared:  # type: ignore[arg-type]  # it wants no host
        assert prepared.facts == (Facts(name="db"),)


def test_a_private_shows_nothing() -> None:
    assert "hunter2" not in repr(Private(lambda: RAW))
