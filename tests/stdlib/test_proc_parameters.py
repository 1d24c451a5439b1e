"""Secrets for programs: they get the value, and nobody else sees it: no result, no error, no record, no log."""

from __future__ import annotations

from typing import Any

import pytest
from running import AllPermitted, Kept, gate, perform, run

from protocol.errors import ArgumentError
from protocol.tiers import Tier
from sandbox.launch import Sandbox
from stdlib.host import Host, RunContext
from stdlib.secrets import GivenSecrets

VALUE = "hunter2!"  # of db-password, as running.gate gives it
MARK = "[secret db-password]"

LUA = """
local password = secret("db-password")
local read = proc.exec({"/bin/cat"}, {stdin = password}).stdout
local seen = proc.exec({"/usr/bin/env"}, {env = {PGPASSWORD = password, PLAIN = "x"}}).stdout
local loud = proc.exec({"/bin/sh", "-c", "cat >&2; exit 3"}, {stdin = password})
local child = proc.spawn({"/bin/cat"}, {T = password})
child:write(password)
child:close_stdin()
local echoed = child:read()
print(read)
return {read = read, seen = seen, loud = loud.stderr, code = loud.code, echoed = echoed}
"""
PYTHON = """
password = secret("db-password")
read = proc.exec(["/bin/cat"], stdin=password)["stdout"]
seen = proc.exec(["/usr/bin/env"], env={"PGPASSWORD": password, "PLAIN": "x"})["stdout"]
loud = proc.exec(["/bin/sh", "-c", "cat >&2; exit 3"], stdin=password)
child = proc.spawn(["/bin/cat"], env={"T": password})
child.write(password)
child.close_stdin()
echoed = child.read()
print(read)
result = {"read": read, "seen": seen, "loud": loud["stderr"], "code": loud["code"], "echoed": echoed}
"""


@pytest.mark.parametrize(("language", "source"), [("lua", LUA), ("python", PYTHON)])
async def test_programs_get_the_value_and_nobody_else(sandbox: Sandbox, language: str, source: str) -> None:
    kept = Kept()
    outcome = await run(sandbox, language, source, Tier.ADMIN, kept=kept)
    assert outcome.status == "ok", outcome.reason
    found = outcome.result
    assert (found["read"], found["loud"], found["code"]) == (MARK, MARK, 3)
    assert found["echoed"] in (MARK, MARK.encode())
    assert f"PGPASSWORD={MARK}\n" in found["seen"]
    assert "PLAIN=x\n" in found["seen"]
    assert outcome.output.strip() == MARK.encode()
    assert VALUE not in repr(kept.records)
    arguments = [record["arguments"] for record in kept.records if record["call"] == "proc.exec"]
    assert any(type(given.get("stdin")) is dict for given in arguments), "the record says that there was one"


async def test_the_program_really_gets_it() -> None:
    """Length and checksum come through where the value does not."""
    context = RunContext(secrets=GivenSecrets({"key": VALUE.encode()}))
    secret = await perform("secret", "key", run=context)
    passage = AllPermitted({1: secret})
    handle = {"$handle": 1}
    done = await perform("proc.exec", ["/usr/bin/wc", "-c"], stdin=handle, run=context, passage=passage)
    assert done["stdout"].strip() == str(len(VALUE))
    done = await perform("proc.exec", ["/bin/sh", "-c", "echo ${#T}"], env={"T": handle}, run=context, passage=passage)
    assert done["stdout"].strip() == str(len(VALUE))
    host = Host(commands={"count": ("/usr/bin/wc", "-c")})
    done = await perform("proc.command", "count", stdin=handle, run=context, passage=passage, host=host)
    assert done["stdout"].strip() == str(len(VALUE))


async def test_a_secret_that_cannot_be_a_variable_is_not_quoted() -> None:
    context = RunContext(secrets=GivenSecrets({"key": b"ab\0" + VALUE.encode()}))
    passage = AllPermitted({1: await perform("secret", "key", run=context)})
    with pytest.raises(ArgumentError, match="the value of 'T' must not hold a NUL") as caught:
        await perform("proc.exec", ["/bin/true"], env={"T": {"$handle": 1}}, run=context, passage=passage)
    assert VALUE not in str(caught.value)
    for env in ({"": "x"}, {"A=B": "x"}):
        with pytest.raises(ArgumentError, match="is no name of a variable"):
            await perform("proc.exec", ["/bin/true"], env=env, run=context, passage=passage)


async def test_a_secret_that_is_not_to_be_had_starts_nothing() -> None:
    """It was taken away between the two calls: the error says so, and no program ran."""

    class Gone:
        def __init__(self) -> None:
            self.is_there = True

        def require(self, name: str) -> None:
            self.open(name)

        def open(self, name: str) -> bytes:
            if not self.is_there:
                raise ArgumentError("it is gone")
            return b"x"

    secrets: Any = Gone()
    kept = Kept()
    session = gate(Tier.ADMIN, kept, context=RunContext(secrets=secrets))
    given: list[bytes] = []
    reply = await session.call("secret", ["key"], {}, given.append)
    assert reply.ok
    secrets.is_there = False
    reply = await session.call("proc.exec", [["/bin/cat"]], {"stdin": {"$handle": reply.value.number}}, given.append)
    assert (reply.ok, getattr(reply.error, "message", "")) == (False, "it is gone")
    await session.close()
