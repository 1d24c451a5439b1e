"""``sys.*`` of cron on a made /etc: what is told, and that only jobs of ours are written and removed."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made import Made, make
from running import Kept, gate, perform

from policies.load import load_policy
from protocol.errors import ArgumentError, ConflictError, DeniedError, NotFoundError, UnavailableError
from protocol.tiers import Tier
from stdlib import crontabs


@pytest.fixture
def made(tmp_path: Path) -> Made:
    made = make(tmp_path)
    made.folder("etc/cron.d")
    return replace(made, host=replace(made.host, commands={"true": ("/bin/true", "-x"), "missing": ()}))


def files(made: Made) -> dict[str, str]:
    return {path.name: path.read_text() for path in (made.place / "etc/cron.d").iterdir()}


async def test_jobs_of_all_places(made: Made) -> None:
    made.put("etc/crontab", "1 * * * * root a\n")
    made.put("etc/cron.d/job", "2 * * * * mia b\n")
    made.put("etc/cron.d/.hidden", "2 * * * * mia no\n")
    made.put("var/spool/cron/crontabs/mia", "3 * * * * c --token abcdefg\n")
    made.put("var/spool/cron/root", "4 * * * * d\n")
    made.put("etc/cron.daily/e").chmod(0o755)
    made.put("etc/cron.daily/not-executable").chmod(0o644)
    made.put("etc/anacrontab", "7 5 x f\n")
    told = await perform("sys.cron", host=made.host)
    assert [(row["user"], row["m"], row["special"], row["command"]) for row in told["jobs"]] == [
        ("root", "1", None, "a"), ("mia", "2", None, "b"), ("mia", "3", None, "c --token [redacted]"),
        ("root", "4", None, "d"), ("root", None, "@daily", f"{made.place}/etc/cron.daily/e"),
        ("root", None, "every 7 days", "f"),
    ]  # fmt: skip
    assert (await perform("sys.cron", 1, host=made.host))["more"]


async def test_a_link_in_place_of_a_crontab_is_not_followed(made: Made) -> None:
    """Whoever owns a crontab could otherwise have the agent read any file."""
    made.put("etc/secret", "1 * * * * secret\n")
    made.folder("var/spool/cron/crontabs")
    (made.place / "var/spool/cron/crontabs/mia").symlink_to(made.place / "etc/secret")
    assert (await perform("sys.cron", host=made.host))["jobs"] == []


async def test_a_host_without_cron_says_so(tmp_path: Path) -> None:
    host = make(tmp_path).host
    with pytest.raises(UnavailableError, match="no cron"):
        await perform("sys.cron", host=host)
    with pytest.raises(UnavailableError, match=r"no .*cron.d"):
        await perform("sys.cron_remove", "x", host=host)


async def test_a_job_is_set_changed_and_removed(made: Made) -> None:
    told = await perform("sys.cron_set", "job", "5 4 * * *", "true", ["a b", "50%"], host=made.host)
    program = os.path.realpath("/bin/true")
    line = f"5 4 * * * root {program} -x 'a b' 50\\%"
    assert told == {"file": f"{made.place}/etc/cron.d/job", "existed": False, "line": line}
    assert files(made) == {"job": f"{crontabs.MARK}\n{line}\n"}
    mode = (made.place / "etc/cron.d/job").stat().st_mode
    assert stat.S_IMODE(mode) == 0o644, "cron refuses a file that others may write"
    again = await perform("sys.cron_set", "job", "@daily", "true", user="mia", host=made.host)
    assert again["existed"]
    assert files(made)["job"].endswith(f"@daily mia {program} -x\n")
    told_jobs = (await perform("sys.cron", host=made.host))["jobs"]
    assert [(row["user"], row["special"], row["command"]) for row in told_jobs] == [("mia", "@daily", f"{program} -x")]
    assert await perform("sys.cron_remove", "job", host=made.host) is True
    assert await perform("sys.cron_remove", "job", host=made.host) is False
    assert files(made) == {}


async def test_what_somebody_else_wrote_is_left_alone(made: Made) -> None:
    made.put("etc/cron.d/theirs", "1 1 1 1 1 root x\n")
    made.put("etc/target", f"{crontabs.MARK}\n")
    (made.place / "etc/cron.d/link").symlink_to(made.place / "etc/target")
    (made.place / "etc/cron.d/dangling").symlink_to("/no/such/place")
    made.folder("etc/cron.d/folder")
    before = (made.place / "etc/target").read_text()
    for name in ("theirs", "link", "dangling", "folder"):
        with pytest.raises(ConflictError):
            await perform("sys.cron_set", name, "@daily", "true", host=made.host)
        with pytest.raises(ConflictError):
            await perform("sys.cron_remove", name, host=made.host)
    assert (made.place / "etc/target").read_text() == before
    assert sorted(path.name for path in (made.place / "etc/cron.d").iterdir()) == [
        "dangling",
        "folder",
        "link",
        "theirs",
    ]


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (["../x", "@daily", "true"], ArgumentError), (["x", "daily", "true"], ArgumentError),
        (["x", "@daily", "true", ["a\nb"]], ArgumentError), (["x", "@daily", "true", [], "no such"], ArgumentError),
        (["x", "@daily", "true", [], "nobody2"], NotFoundError), (["x", "@daily", "other"], DeniedError),
        (["x", "@daily", "missing"], DeniedError), (["x", "@daily", "/bin/true"], DeniedError),
    ],
)  # fmt: skip
async def test_what_is_refused_leaves_nothing(made: Made, args: list[Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        await perform("sys.cron_set", *args, host=made.host)
    assert files(made) == {}


async def test_a_directory_that_cannot_be_written(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(UnavailableError, match="Read-only file system"):
        await perform("sys.cron_set", "job", "@daily", "true", host=made.host)
    assert files(made) == {}, "not even a draft is left"


async def test_a_job_is_decided_on_its_command_and_intended(made: Made) -> None:
    kept = Kept()
    reply = await gate(Tier.OPERATE, kept, made.host).call("sys.cron_set", ["job", "@daily", "true"], {})
    assert reply.ok, reply.error
    assert [record["kind"] for record in kept.records] == ["intent", "call"]
    denied = await gate(Tier.INSPECT, host=made.host).call("sys.cron_set", ["job", "@daily", "true"], {})
    assert denied.error is not None
    assert denied.error.code == "denied"


async def test_a_rule_about_users_is_about_whom_the_job_runs_as(made: Made) -> None:
    """Else a script has its command started as somebody whom the owner has denied, only a minute later."""
    made.put("etc/passwd", "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")
    policy = load_policy(
        "tier: operate\nallow: [{call: sys.cron_set}]\ndeny: [{call: '*', users: [nobody]}]\n", "test.yaml"
    )
    told = []
    for user in ("nobody", "root"):
        of_one = gate(Tier.OPERATE, host=made.host, policy=policy)
        reply = await of_one.call("sys.cron_set", ["job", "@daily", "true"], {"user": user})
        told.append(reply.error and reply.error.code)
        await of_one.close()
    assert told == ["denied", None]
    assert " root " in files(made)["job"]
