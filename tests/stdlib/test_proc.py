"""What ``proc.*`` tells of processes: on this machine, and on trees of files that stand for others."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from documented import TEXT_OR_NOTHING, Fields, check_fields, names_in_text
from running import AllPermitted, gate, perform

from protocol.errors import ArgumentError, DeadlineError, NotFoundError
from protocol.tiers import Tier
from stdlib.catalogue import load
from stdlib.host import Host
from stdlib.proc_table import FIELDS as COLUMNS
from stdlib.proc_table import parse_stat, user_name

ROW: Fields = {
    "pid": int, "ppid": int, "name": str, "user": str, "state": str, "nice": int, "prio": int, "threads": int,
    "started": float, "size": int, "rss": int, "share": int, "cpu_user": float, "cpu_sys": float, "faults": int,
}  # fmt: skip
FIELDS: dict[str, Fields] = {
    "proc.list": ROW,
    "proc.self": {
        "pid": int, "uid": int, "gid": int, "user": str, "home": str, "cwd": str, "rss": int, "cpu": float,
    },
    "proc.io": dict.fromkeys(
        ("read_chars", "write_chars", "read_calls", "write_calls", "read_bytes", "write_bytes", "cancelled_bytes"), int
    ),
    "proc.limits": {"name": str, "soft": (int, type(None)), "hard": (int, type(None)), "unit": str},
    "proc.cgroup": {"path": TEXT_OR_NOTHING, "controllers": dict},
    "proc.deleted_libs": {"pid": int, "process": str, "library": str},
    "proc.open_files": {"fd": int, "path": str, "type": str},
}  # fmt: skip


def started(*argv: str, **more: Any) -> subprocess.Popen[bytes]:
    """A process that has become what it is: the kernel shows its arguments a moment after it tells of the start."""
    process = subprocess.Popen(argv, **more)
    while not Path(f"/proc/{process.pid}/cmdline").read_bytes():
        os.sched_yield()
    return process


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = started("sleep", "300")
    ends_s = time.monotonic() + 20.0
    while not is_asleep(process.pid):  # until then it loads its libraries, and its sizes change
        assert time.monotonic() < ends_s
        os.sched_yield()
    yield process
    process.kill()
    process.wait()


def is_asleep(pid: int) -> bool:
    """Tell whether a process is in clock_nanosleep(2) or nanosleep(2), of x86_64 or aarch64."""
    try:
        told = Path(f"/proc/{pid}/syscall").read_text()
    except (FileNotFoundError, PermissionError):  # a kernel that does not tell
        return True
    return told.split()[0] in {"230", "35", "115", "101"}


def test_the_text_of_each_call_names_its_fields() -> None:
    for name, fields in FIELDS.items():
        spec = load().find(name)
        assert spec is not None
        assert names_in_text(name) | {item.name for item in spec.parameters} >= set(fields), name


async def test_list() -> None:
    found = await perform("proc.list")
    for row in found:
        check_fields(row, ROW)
    assert [row["pid"] for row in found] == sorted(row["pid"] for row in found)
    own = next(row for row in found if row["pid"] == os.getpid())
    assert own["ppid"] == os.getppid()
    assert 0 < own["started"] < time.time() + 2
    assert own["size"] > own["rss"] > own["share"] > 1_000_000
    assert own["threads"] >= 1
    assert not {"cmdline", "args", "environ"} & set(own), "those may hold secrets"


async def test_list_agrees_with_the_kernel_on_a_process_that_moves_little(child: subprocess.Popen[bytes]) -> None:
    row = await perform("proc.get", child.pid)
    check_fields(row, ROW)
    status = dict(line.split(":\t") for line in Path(f"/proc/{child.pid}/status").read_text().splitlines())
    assert row["name"] == status["Name"] == "sleep"
    assert row["ppid"] == os.getpid()
    assert abs(row["rss"] - int(status["VmRSS"].split()[0]) * 1024) < 1 << 20, "the kernel counts in lots"
    assert row["size"] == int(status["VmSize"].split()[0]) * 1024
    assert abs(row["started"] - time.time()) < 30


async def test_list_is_narrowed_sorted_and_cut() -> None:
    name = Path("/proc/self/comm").read_text().rstrip("\n")
    found = await perform("proc.list", name)
    assert os.getpid() in {row["pid"] for row in found}
    assert all(name in row["name"] for row in found)
    assert await perform("proc.list", "no process is called this") == []
    few = await perform("proc.list", limit=3, sort="rss", fields=["name", "rss"])
    assert [set(row) for row in few] == [{"name", "rss"}] * 3
    sizes = [row["rss"] for row in few]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] >= max(row["rss"] for row in await perform("proc.list", limit=20)) * 0.5
    for order in ("pid", "name", "size", "cpu", "started"):
        assert len(await perform("proc.list", limit=2, sort=order)) == 2
    with pytest.raises(ArgumentError, match="there is no 'cmdline'"):
        await perform("proc.list", fields=["pid", "cmdline"])


async def test_a_tree_begins_at_its_root(child: subprocess.Popen[bytes]) -> None:
    found = await perform("proc.tree", os.getpid())
    assert (found[0]["pid"], found[0]["depth"]) == (os.getpid(), 0)
    assert next(row["depth"] for row in found if row["pid"] == child.pid) == 1
    check_fields(found[0], {**ROW, "depth": int})
    seen: set[int] = set()
    for row in found:
        assert not seen or row["ppid"] in seen
        seen.add(row["pid"])


@pytest.mark.parametrize("name", ["tree", "io", "limits", "cgroup", "cmdline", "exe", "cwd", "open_files"])
async def test_who_is_not_there_is_told(name: str) -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    with pytest.raises(NotFoundError, match=str(process.pid)):
        await perform(f"proc.{name}", process.pid)
    assert await perform("proc.get", process.pid) is None


@pytest.mark.parametrize("pid", [0, -1, 1 << 23, 1.5, "1", None, True])
@pytest.mark.parametrize("name", ["get", "tree", "cgroup", "cmdline", "signal"])
async def test_what_is_no_pid_is_refused(name: str, pid: Any) -> None:
    with pytest.raises(ArgumentError, match="pid"):
        await perform(f"proc.{name}", pid, *(["TERM"] if name == "signal" else []))


async def test_self() -> None:
    own = await perform("proc.self")
    check_fields(own, FIELDS["proc.self"])
    assert (own["pid"], own["uid"], own["gid"]) == (os.getpid(), os.getuid(), os.getgid())
    assert own["cwd"] == os.getcwd()


async def test_what_a_process_moves_and_may_have() -> None:
    before = await perform("proc.io", os.getpid())
    check_fields(before, FIELDS["proc.io"])
    Path("/proc/self/status").read_text()
    assert (await perform("proc.io", os.getpid()))["read_calls"] > before["read_calls"]
    limits = await perform("proc.limits", os.getpid())
    for row in limits:
        check_fields(row, FIELDS["proc.limits"])
    files = next(row for row in limits if row["name"] == "max_open_files")
    assert files["unit"] == "files"
    assert files["soft"] <= files["hard"]
    assert next(row for row in limits if row["name"] == "max_cpu_time")["unit"] == "seconds"
    check_fields(await perform("proc.cgroup", os.getpid()), FIELDS["proc.cgroup"])


def other_host(root: Path) -> Host:
    """A host with two processes of odd names, an uptime, and a library that is gone."""
    (root / "stat").write_text("cpu 1 2 3\nbtime 1000\n")
    for pid, name, parent in ((1, "init", 0), (42, "a) b (c\n", 1)):
        own = root / str(pid)
        own.mkdir()
        rest = f"S {parent} 1 1 0 -1 4194560 1 2 3 4 500 600 7 8 20 -5 3 0 250 1048576 10 " + "0 " * 28
        (own / "stat").write_text(f"{pid} ({name}) {rest}\n")
        (own / "statm").write_text("256 10 4 1 0 5 0\n")
        (own / "status").write_text("Name:\tx\nUid:\t0\t0\t0\t0\n")
        (own / "cgroup").write_text("3:cpu,cpuacct:/a\n1:name=systemd:/b\n0::/c.slice\n")
        (own / "cmdline").write_bytes(b"prog\0--password\0hunter2\0-x\0\xff\0")
        (own / "maps").write_text(
            "7f00-7f01 r-xp 00000000 08:01 1 /usr/lib/libz.so.1 (deleted)\n"
            "7f02-7f03 r--p 00000000 08:01 1 /usr/lib/libdata.so (deleted)\n"
            "7f04-7f05 r-xp 00000000 00:05 1 /memfd:jit (deleted)\n"
            "7f06-7f07 r-xp 00000000 08:01 2 /usr/lib/libc.so.6\n"
        )
    (root / "99").mkdir()  # ends while it is looked at
    return Host(proc=str(root))


async def test_another_tree_is_read_to_the_letter(tmp_path: Path) -> None:
    host = other_host(tmp_path)
    page, tick = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
    rows = await perform("proc.list", host=host)
    assert [(row["pid"], row["name"]) for row in rows] == [(1, "init"), (42, "a) b (c\n")]
    assert rows[1] | {"user": ""} == {
        "pid": 42, "ppid": 1, "name": "a) b (c\n", "user": "", "state": "sleeping", "nice": -5, "prio": 20,
        "threads": 3, "started": 1000 + 250 / tick, "size": 1048576, "rss": 10 * page, "share": 4 * page,
        "cpu_user": 500 / tick, "cpu_sys": 600 / tick, "faults": 3,
    }  # fmt: skip
    assert set(rows[1]) == set(COLUMNS)
    assert await perform("proc.cgroup", 42, host=host) == {
        "path": "/c.slice", "controllers": {"cpu": "/a", "cpuacct": "/a", "name=systemd": "/b"}
    }  # fmt: skip
    assert await perform("proc.cmdline", 42, host=host) == ["prog", "--password", "[redacted]", "-x", "\ufffd"]
    stale = await perform("proc.deleted_libs", host=host)
    assert [(row["pid"], row["library"]) for row in stale] == [(1, "/usr/lib/libz.so.1"), (42, "/usr/lib/libz.so.1")]


async def test_a_name_begins_no_line_of_its_own(tmp_path: Path) -> None:
    """Whoever was given a part of the tree of groups, or starts a program, names them as they like: the kernel escapes
    a line feed in a name, and nothing else that some take for the end of a line.
    """
    host = other_host(tmp_path)
    for end in ("\r", "\x0b", "\x0c", "\x1c", "\x85", "\u2028"):
        path = f"/user.slice/a{end}0::/system.slice/sshd.service"
        (tmp_path / "42/cgroup").write_bytes(f"0::{path}\n".encode())
        assert await perform("proc.cgroup", 42, host=host) == {"path": path, "controllers": {}}
    (tmp_path / "42/status").write_bytes(b"Name:\tx\rUid:\t1\t1\nUid:\t0\t0\t0\t0\n")
    row = await perform("proc.get", 42, host=host)
    assert row["user"] == user_name(os.stat(tmp_path / "42").st_uid), "what it calls itself is not whose it is"
    library = b"/home/m/x\r7f-80 r-xp 0 08:01 1 /usr/lib/libssl.so"
    (tmp_path / "42/maps").write_bytes(b"7f00-7f01 r-xp 00000000 08:01 1 " + library + b" (deleted)\n")
    stale = await perform("proc.deleted_libs", host=host)
    assert [row["library"] for row in stale if row["pid"] == 42] == [os.fsdecode(library)]


async def test_whoever_reads_what_all_have_mapped_ends_with_the_run(tmp_path: Path) -> None:
    """16 MiB of each process, of which any user may have thousands."""
    passage, host = AllPermitted(), other_host(tmp_path)
    passage.is_over = True
    with pytest.raises(DeadlineError):
        await perform("proc.deleted_libs", host=host, passage=passage)


async def test_a_thread_of_the_kernel_s_is_root_s_and_shares_nothing(tmp_path: Path) -> None:
    """So nothing more is read of it: they are most processes of an idle host. All others are asked."""
    host = other_host(tmp_path)
    own = tmp_path / "7"
    own.mkdir()
    (own / "stat").write_text(
        "7 (kworker/0:0) I 2 0 0 0 -1 69238880 0 0 0 0 0 3 0 0 20 0 1 0 9 0 0 " + "0 " * 28 + "\n"
    )
    rows = {row["pid"]: row for row in await perform("proc.list", host=host)}
    assert (rows[7]["user"], rows[7]["share"], rows[7]["size"]) == ("root", 0, 0)
    assert (69238880 & 0x00200000, 4194560 & 0x00200000) == (0x00200000, 0)
    (own / "stat").write_text("7 (imposter) S 2 0 0 0 -1 4194560 0 0 0 0 0 3 0 0 20 0 1 0 9 0 0 " + "0 " * 28 + "\n")
    if os.getuid() == 0:  # what root owns is looked at further, and is not there
        assert 7 not in {row["pid"] for row in await perform("proc.list", host=host)}


async def test_users_and_shares_are_those_that_the_kernel_tells(child: subprocess.Popen[bytes]) -> None:
    """Of processes that stay as they are, and of one of the kernel's threads if any can be seen."""
    rows = {row["pid"]: row for row in await perform("proc.list")}
    for pid in {child.pid, 1, 2} & set(rows):
        status = Path(f"/proc/{pid}/status").read_text()
        uid = int(next(line for line in status.splitlines() if line.startswith("Uid:")).split()[2])
        assert rows[pid]["user"] == user_name(uid)
        if pid != 1:
            shared = int(Path(f"/proc/{pid}/statm").read_text().split()[2])
            assert rows[pid]["share"] == shared * os.sysconf("SC_PAGE_SIZE")
    assert child.pid in rows


@pytest.mark.parametrize("data", [b"", b"1 (a", b"1 (a) S 1", b"x (a) S 1 2 3", b"1 (a) S " + b"y " * 40])
def test_what_is_no_stat_file_is_no_process(data: bytes) -> None:
    with pytest.raises(ValueError):
        parse_stat(data)


async def test_wait_for(child: subprocess.Popen[bytes]) -> None:
    assert (await perform("proc.wait_for", "sleep"))["name"] == "sleep"
    assert await perform("proc.wait_for", "no process is called this", timeout=0.05) is None
    assert await perform("proc.wait_for", "no process is called this", "gone") is None
    assert (await perform("proc.wait_for", "sleep", "gone", timeout=0.05))["name"] == "sleep"


async def test_what_a_process_runs_and_holds(child: subprocess.Popen[bytes], tmp_path: Path) -> None:
    own = os.getpid()
    assert await perform("proc.cmdline", child.pid) == ["sleep", "300"]
    assert await perform("proc.exe", own) == os.path.realpath(sys.executable)
    assert await perform("proc.cwd", own) == os.getcwd()
    with (tmp_path / "open").open("w"):
        rows = await perform("proc.open_files", own)
    for row in rows:
        check_fields(row, FIELDS["proc.open_files"])
    assert ("file", str(tmp_path / "open")) in {(row["type"], row["path"]) for row in rows}
    assert {row["type"] for row in rows} >= {"file", "device"}


async def test_an_environment_is_told_by_name_only() -> None:
    process = started("sleep", "300", env={"A": "1", "SECRET": "x", "B": "two=2"})
    try:
        assert await perform("proc.environ", process.pid, ["A", "B", "C"]) == {"A": "1", "B": "two=2"}
        assert await perform("proc.environ", process.pid, []) == {}
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("tier", "allowed", "denied"),
    [
        (Tier.OBSERVE, "list self get tree io limits cgroup deleted_libs", "cmdline exe cwd open_files environ"),
        (Tier.INSPECT, "list cmdline exe cwd open_files", "environ signal renice exec spawn"),
        (Tier.OPERATE, "list cmdline", "environ exec spawn"),
        (Tier.ADMIN, "list cmdline environ", ""),
    ],
)
async def test_who_may_ask_what(tier: Tier, allowed: str, denied: str) -> None:
    more: dict[str, list[Any]] = {
        "list": [], "self": [], "deleted_libs": [], "environ": [os.getpid(), ["A"]], "signal": [os.getppid(), "CONT"],
        "renice": [os.getppid(), 0], "exec": [["true"]], "spawn": [["true"]],
    }  # fmt: skip
    door = gate(tier)
    for name in allowed.split():
        reply = await door.call(f"proc.{name}", more.get(name, [os.getpid()]), {})
        assert reply.ok, (name, reply.error)
    for name in denied.split():
        reply = await door.call(f"proc.{name}", more.get(name, [os.getpid()]), {})
        assert reply.error is not None, name
        assert reply.error.code == "denied", name
    await door.close()
