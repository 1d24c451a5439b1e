"""``sys.*`` of people: accounts without anything made of a password, logins from their binary records."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest
from exemplary import record
from made import Made, make
from running import perform

from protocol.errors import ArgumentError, NotFoundError, UnavailableError
from stdlib import accounts, logins, sys_users

HASH = "$y$j9T$abcdefghijklmnop$qrstuvwxyz0123456789"


@pytest.fixture
def made(tmp_path: Path) -> Made:
    made = make(tmp_path)
    made.put("etc/shadow", f"root:{HASH}:19700:0:99999:7:::\nmia:!{HASH}:19701:1:90:14:30:20000:\nbad\n")
    return made


async def test_a_user_by_name_and_by_number(made: Made) -> None:
    mia = await perform("sys.user", "mia", host=made.host)
    assert mia == {
        "name": "mia", "uid": 1001, "gid": 1001, "full_name": "Mia M,,,", "home": "/home/mia", "shell": "/bin/sh",
        "groups": ["adm", "mia"], "system": False, "source": "files", "password": "locked",
        "password_changed": 19701 * 86400, "min_days": 1, "max_days": 90, "warn_days": 14, "inactive_days": 30,
        "expires": 20000 * 86400,
    }  # fmt: skip
    assert await perform("sys.user", 1001, host=made.host) == mia
    assert await perform("sys.user", 1001.0, host=made.host) == mia, "Lua may have one type of number"
    root = await perform("sys.user", 0, host=made.host)
    assert (root["password"], root["system"], root["inactive_days"], root["expires"]) == ("set", True, None, None)


async def test_no_hash_of_a_password_is_told(made: Made) -> None:
    for name, args in (("sys.user", ["root"]), ("sys.user", ["mia"]), ("sys.users", [])):
        told = repr(await perform(name, *args, host=made.host))
        for part in (HASH, "$y$", "abcdefghijklmnop", "qrstuvwxyz"):
            assert part not in told


@pytest.mark.parametrize(
    ("field", "status"), [("", "none"), ("x", "set"), ("*", "locked"), ("!", "locked"), ("!!", "locked"), (HASH, "set")]
)
def test_status_of_a_password(field: str, status: str) -> None:
    assert accounts.status(field) == status


async def test_an_agent_that_may_not_read_shadow_says_nothing_of_passwords(tmp_path: Path) -> None:
    told = await perform("sys.user", "root", host=make(tmp_path).host)
    assert [told[name] for name in accounts.NOT_TOLD] == [None] * len(accounts.NOT_TOLD)


@pytest.mark.parametrize("who", [-1, 1.5, True, False, 1 << 32, 1e300])
async def test_what_is_neither_name_nor_number_is_refused(made: Made, who: object) -> None:
    for name in ("sys.user", "sys.group"):
        with pytest.raises(ArgumentError) as caught:
            await perform(name, who, host=made.host)
        assert caught.value.parameter == "who"


async def test_who_is_not_there(made: Made) -> None:
    for who in ("nobody-of-this-name", "", "root:x", 4242):
        with pytest.raises(NotFoundError):
            await perform("sys.user", who, host=made.host)
        with pytest.raises(NotFoundError):
            await perform("sys.group", who, host=made.host)


async def test_groups(made: Made) -> None:
    expected = {"name": "adm", "gid": 4, "members": ["mia"], "source": "files"}
    assert await perform("sys.group", "adm", host=made.host) == expected
    assert await perform("sys.group", 4, host=made.host) == expected


async def test_users_in_pages(made: Made) -> None:
    made.put("etc/passwd", "".join(f"u{i}:x:{i}:0::/:/bin/sh\n" for i in range(1100)) + "broken line\n+::::::\n")
    told = await perform("sys.users", 0, 2, host=made.host)
    assert ([row["name"] for row in told["users"]], told["more"]) == (["u0", "u1"], True)
    told = await perform("sys.users", 1098, 10, host=made.host)
    assert ([row["name"] for row in told["users"]], told["more"]) == (["u1098", "u1099"], False)
    assert [row["system"] for row in (await perform("sys.users", 999, 2, host=made.host))["users"]] == [True, False]
    made.put("etc/login.defs", "# UID_MIN 5\nUID_MIN\t\t 1001\n")
    assert (await perform("sys.user", "u1000", host=made.host))["system"]


async def test_users_of_this_machine_are_those_of_the_system() -> None:
    told = await perform("sys.user", os.getuid())
    assert told["home"] == pwd.getpwuid(os.getuid()).pw_dir
    assert {row["name"] for row in (await perform("sys.users"))["users"]} <= {row.pw_name for row in pwd.getpwall()}


def wtmp(*rows: tuple[int, int, str, str, str, int]) -> bytes:
    return b"".join(record(*row) for row in rows)


HISTORY = wtmp(
    (2, 0, "~", "reboot", "6.1.0-1", 100),
    (7, 10, "pts/0", "mia", "192.0.2.7", 110),
    (8, 10, "pts/0", "", "", 120),
    (7, 11, "pts/0", "mia", "", 130),
    (1, 0, "~", "shutdown", "6.1.0-1", 140),
    (2, 0, "~", "reboot", "6.1.0-2", 200),
    (7, 12, "tty1", "root", "", 210),
    (2, 0, "~", "reboot", "6.1.0-2", 300),
    (5, 1, "tty1", "", "", 301),
    (7, 13, "pts/1", "mia", "192.0.2.8", 310),
)


def narrow() -> None:
    if logins.layout().size != 384:
        pytest.skip("the records here are those of machines with short times")


async def test_logins_and_how_they_ended(made: Made) -> None:
    narrow()
    made.put("var/log/wtmp", HISTORY)
    told = await perform("sys.last_logins", host=made.host)
    assert [(row["user"], row["device"], row["login"], row["logout"], row["ended"]) for row in told["logins"]] == [
        ("mia", "pts/1", 310.5, None, "here"), ("root", "tty1", 210.5, 300.5, "crash"),
        ("mia", "pts/0", 130.5, 140.5, "down"), ("mia", "pts/0", 110.5, 120.5, "logout"),
    ]  # fmt: skip
    assert told["logins"][0]["host"] == "192.0.2.8"
    assert [(boot["time"], boot["kernel"]) for boot in told["boots"]] == [
        (300.5, "6.1.0-2"), (200.5, "6.1.0-2"), (100.5, "6.1.0-1"),
    ]  # fmt: skip
    assert (told["log_start"], told["more"]) == (100.5, False)
    few = await perform("sys.last_logins", 1, host=made.host)
    assert (len(few["logins"]), few["more"]) == (1, True)


async def test_hostile_records_are_harmless(made: Made) -> None:
    narrow()
    made.put("var/log/wtmp", b"\xff" * 384 + HISTORY + b"cut short")
    told = await perform("sys.last_logins", host=made.host)
    assert len(told["logins"]) == 4
    made.put("var/log/wtmp", b"")
    assert (await perform("sys.last_logins", host=made.host))["log_start"] is None


async def test_a_long_log_is_read_from_its_end(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its beginning is cut off in the middle of a record where something else was written into it."""
    narrow()
    monkeypatch.setattr(sys_users, "_MAX_UTMP_RECORDS", 2)
    made.put("var/log/wtmp", HISTORY + HISTORY[:100])
    told = await perform("sys.last_logins", host=made.host)
    assert [row["login"] for row in told["logins"]] == [310.5]
    assert told["more"]


def test_the_records_of_both_kinds_of_machines() -> None:
    assert (logins.layout("x86_64").size, logins.layout("aarch64").size) == (384, 400)
    wide = logins.layout("aarch64").pack(
        7, 10, b"pts/0", b"", b"mia", b"h", 0, 0, 0, 1 << 33, 250_000, b"", b""
    )  # fmt: skip
    (row,) = logins.records(wide, logins.layout("aarch64"))
    assert (row.user, row.device, row.host, row.time) == ("mia", "pts/0", "h", (1 << 33) + 0.25)


async def test_who_is_here(made: Made) -> None:
    narrow()
    made.folder("proc/9")
    made.put(
        "run/utmp",
        wtmp((7, 9, "pts/0", "mia", "192.0.2.7", 20), (7, 10, "pts/1", "mia", "", 30), (8, 9, "x", "", "", 1)),
    )
    assert await perform("sys.who", host=made.host) == [
        {"user": "mia", "device": "pts/0", "time": 20.5, "host": "192.0.2.7", "pid": 9}
    ]


async def test_who_is_here_without_utmp(made: Made) -> None:
    with pytest.raises(UnavailableError, match="neither"):
        await perform("sys.who", host=made.host)
    made.put(
        "run/systemd/sessions/1",
        "UID=1001\nUSER=mia\nCLASS=user\nTTY=pts/0\nREMOTE_HOST=192.0.2.7\nLEADER=9\nREALTIME=20500000\n",
    )
    made.put("run/systemd/sessions/2", "USER=mia\nCLASS=manager\nREALTIME=1\n")
    os.mkfifo(made.place / "run/systemd/sessions/1.ref")
    assert await perform("sys.who", host=made.host) == [
        {"user": "mia", "device": "pts/0", "time": 20.5, "host": "192.0.2.7", "pid": 9}
    ]


async def test_a_host_without_a_log_says_so(made: Made) -> None:
    with pytest.raises(UnavailableError, match="wtmp cannot be read"):
        await perform("sys.last_logins", host=made.host)


async def test_logins_of_this_machine() -> None:
    for name, key in (("sys.who", None), ("sys.last_logins", "logins")):
        try:
            told = await perform(name)
        except UnavailableError:
            assert not Path("/run/utmp" if key is None else "/var/log/wtmp").exists()
        else:
            assert all(row["user"] for row in (told if key is None else told[key]))
