"""``proc.*`` on this machine: processes, and declared commands."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from documented import TEXT_OR_NOTHING, Fields, check_fields, family, names_in_text
from running import Kept, gate, perform

from protocol.errors import DeniedError, UnavailableError
from protocol.tiers import Tier
from stdlib.host import Host
from stdlib.proc import MAX_OUTPUT_BYTES

NUMBER_OR_NOTHING = (int, type(None))
SECONDS_OR_NOTHING = (float, type(None))
FIELDS: dict[str, Fields] = {
    "proc.list": {
        "pid": int, "ppid": int, "name": str, "user": TEXT_OR_NOTHING, "state": str, "nice": NUMBER_OR_NOTHING,
        "threads": NUMBER_OR_NOTHING, "started": float, "rss": NUMBER_OR_NOTHING, "size": NUMBER_OR_NOTHING,
        "cpu_user": SECONDS_OR_NOTHING, "cpu_sys": SECONDS_OR_NOTHING,
    },
    "proc.self": {"pid": int, "uid": int, "gid": int, "rss": int, "cpu": float},
    "proc.command": {
        "code": NUMBER_OR_NOTHING, "signal": NUMBER_OR_NOTHING, "stdout": str, "stderr": str, "truncated": bool,
        "ms": float,
    },
}  # fmt: skip


def declared(*argv: str) -> Host:
    return Host(commands={"it": argv})


def test_every_call_is_held_here_and_its_text_names_its_fields() -> None:
    assert family("proc") == set(FIELDS)
    for name, fields in FIELDS.items():
        assert names_in_text(name) == set(fields), name


async def test_list() -> None:
    found = await perform("proc.list")
    for row in found:
        check_fields(row, FIELDS["proc.list"])
    assert [row["pid"] for row in found] == sorted(row["pid"] for row in found)
    own = next(row for row in found if row["pid"] == os.getpid())
    assert own["ppid"] == os.getppid()
    assert 0 < own["started"] < time.time()
    assert own["size"] > own["rss"] > 1_000_000
    assert not {"cmdline", "args", "environ"} & set(own), "those may hold secrets"


async def test_list_is_narrowed_by_name_and_limit() -> None:
    name = Path("/proc/self/comm").read_text().rstrip("\n")
    found = await perform("proc.list", name)
    assert os.getpid() in {row["pid"] for row in found}
    assert all(name in row["name"] for row in found)
    assert len(await perform("proc.list", limit=1)) == 1
    assert await perform("proc.list", "no process is called this") == []


async def test_self() -> None:
    own = await perform("proc.self")
    check_fields(own, FIELDS["proc.self"])
    assert (own["pid"], own["uid"], own["gid"]) == (os.getpid(), os.getuid(), os.getgid())


async def test_command_takes_arguments_as_they_are() -> None:
    """There is no shell: nothing in an argument means anything."""
    strange = ["$HOME", "`id`", "; id", "a  b", "*", "é"]
    done = await perform("proc.command", "it", strange, host=declared("/usr/bin/printf", "%s\\n"))
    check_fields(done, FIELDS["proc.command"])
    assert done["stdout"].splitlines() == strange
    assert (done["code"], done["signal"], done["stderr"], done["truncated"]) == (0, None, "", False)


async def test_command_inherits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    done = await perform("proc.command", "it", host=declared("/usr/bin/env"))
    names = {line.partition("=")[0] for line in done["stdout"].splitlines()}
    assert names == {"PATH", "LANG", "LC_ALL", "HOME"}
    assert (await perform("proc.command", "it", host=declared("/bin/cat")))["stdout"] == "", "its input is empty"


@pytest.mark.parametrize(
    ("script", "code", "signal", "stderr"), [("echo no >&2; exit 3", 3, None, "no\n"), ("kill -TERM $$", None, 15, "")]
)
async def test_how_a_command_ended(script: str, code: Any, signal: Any, stderr: str) -> None:
    done = await perform("proc.command", "it", [script], host=declared("/bin/sh", "-c"))
    assert (done["code"], done["signal"], done["stderr"]) == (code, signal, stderr)


async def test_command_that_takes_too_long_is_killed_with_its_children() -> None:
    script = "echo $$; sleep 300 & sleep 300"
    done = await perform("proc.command", "it", [script], 0.3, host=declared("/bin/sh", "-c"))
    assert (done["code"], done["signal"]) == (None, 9)
    assert done["ms"] < 5000
    group = int(done["stdout"])
    left = [row for row in await perform("proc.list", "sleep") if _group(row["pid"]) == group]
    assert [row for row in left if row["state"] != "zombie"] == []


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


async def test_output_over_the_cap_is_cut_and_said() -> None:
    size = MAX_OUTPUT_BYTES + 1
    done = await perform("proc.command", "it", [str(size)], host=declared("/usr/bin/head", "/dev/zero", "-c"))
    assert (len(done["stdout"]), done["truncated"], done["code"]) == (MAX_OUTPUT_BYTES, True, 0)


async def test_what_cannot_be_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(DeniedError, match="declares no command"):
        await perform("proc.command", "other", host=declared("/bin/cat"))
    (tmp_path / "text").write_text("x")
    for path in (tmp_path / "text", tmp_path / "missing"):
        with pytest.raises(UnavailableError, match="is not a program"):
            await perform("proc.command", "it", host=declared(str(path)))


async def test_a_command_is_intended_before_it_runs() -> None:
    kept = Kept()
    reply = await gate(Tier.INSPECT, kept).call("proc.command", ["df"], {})
    assert reply.ok or (reply.error is not None and reply.error.code == "unavailable")
    assert [record["kind"] for record in kept.records] == ["intent", "call"]
    denied = await gate(Tier.OBSERVE).call("proc.command", ["df"], {})
    assert denied.error is not None
    assert denied.error.code == "denied"
