"""``git push`` of a signed script to its review, by the git that people have, on a running server."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import threading
from pathlib import Path

import pytest
from shell import Shell
from test_git_clone import address, git, viewer

from fleet import Fleet, expect

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed here")
ROUNDS = int(os.environ.get("OUTRIDER_KILL_ROUNDS", "6"))


def commit(work: Path) -> None:
    """Commit all; also if nothing changed: what is signed again within the same second is the same to the byte."""
    git("add", "-A", cwd=work)
    who = ("-c", "user.name=mia", "-c", "user.email=mia@example.org")
    git(*who, "commit", "-q", "--allow-empty", "-m", "x", cwd=work)


def signed(outrider: Shell, name: str, source: str = "return 1\n", *, by: str = "author", **more: str) -> Path:
    """Write a script, sign it, and commit both in a repository of its own."""
    folder = outrider.write(name, source, **more)
    if not (folder / ".git").exists():
        git("init", "-q", cwd=folder)
    done = outrider("script", "sign", str(folder), "--key", outrider.key(by))
    assert done.status == 0, done.err
    commit(folder)
    return folder


def push(outrider: Shell, folder: Path, name: str, *words: str, token: str = "") -> subprocess.CompletedProcess[str]:
    where = address(outrider, token or outrider.token_file.read_text().strip())
    return git(*words, "push", where, f"HEAD:refs/heads/review/{name}", cwd=folder, check=False)


def author(outrider: Shell) -> str:
    directory = outrider.fleet.directory / "server"
    made = outrider.fleet.run_tool(
        "server", "token", "--dir", str(directory), "--principal", "ann", "--role", "author"
    )  # fmt: skip
    return made.stdout.strip()


def test_a_push_publishes_and_after_the_review_it_runs(outrider: Shell) -> None:
    name = "checks/pushed"
    folder = signed(outrider, name, "return 'pushed'\n")
    done = push(outrider, folder, name, token=author(outrider))
    assert done.returncode == 0, done.stderr
    assert "remote: published checks/pushed 1.0.0 (observe), waiting for review" in done.stderr
    again = push(outrider, folder, name)
    assert again.returncode == 0, "the same again changes nothing"

    shown = outrider("script", "show", name, "--json").data
    assert outrider("script", "check", str(folder), "--json").status == 0
    assert shown["digest"] in done.stderr
    waiting = [each for each in outrider("review", "ls", "--json").data if each["script"] == name]
    approved = outrider.approve(waiting[0]["id"])
    assert approved.status == 0, approved.err
    ran = outrider("run", "host-1", name, "--json")
    assert ran.status == 0, ran.err
    assert "pushed" in ran.out


def test_the_next_version_from_a_clone(outrider: Shell) -> None:
    """What the server has is not sent again: the pack is thin, and its deltas rest on what the sender may read."""
    name = "checks/cloned"
    rows = "".join(f"-- line {number}\n" for number in range(2_000))
    outrider.publish(outrider.write(name, rows + "return 1\n"))
    token = author(outrider)
    git("clone", "-q", address(outrider, token), "copy", cwd=outrider.work)
    folder = outrider.work / "copy" / name
    manifest = (folder / "manifest.yaml").read_text()
    (folder / "manifest.yaml").write_text(manifest.replace("1.0.0", "1.0.1"))
    (folder / "main.lua").write_text(rows + "return 2\n")
    assert outrider("script", "sign", str(folder), "--key", outrider.key("author")).status == 0
    commit(outrider.work / "copy")
    done = push(outrider, outrider.work / "copy", name, token=token)
    assert done.returncode == 0, done.stderr
    assert outrider("script", "show", name, "--json").data["version"] == "1.0.1"


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        ("nothing signed", "holds no signed publication of checks/spoilt"),
        ("changed after", "the bundle is sha256:"),
        ("stranger", "signed by 0 of the 1 known keys"),
        ("link", "is a symbolic link"),
        ("twice", "push a commit that holds it once"),
        ("syntax", "main.lua:1"),
        ("no manifest", "holds no manifest.yaml"),
    ],
)
def test_what_is_not_in_order_is_refused_with_the_reason(outrider: Shell, spoil: str, told: str) -> None:
    name = "checks/spoilt"
    source = "return )\n" if spoil == "syntax" else f"return '{spoil}'\n"
    folder = signed(outrider, name, source, by="stranger" if spoil == "stranger" else "author")
    if spoil == "nothing signed":
        (folder / ".publication.json").unlink()
    elif spoil == "changed after":
        (folder / "main.lua").write_text("return 'another'\n")
    elif spoil == "link":
        (folder / "link.lua").symlink_to("/etc/passwd")
    elif spoil == "twice":
        (folder / "copy").mkdir()
        shutil.copy(folder / ".publication.json", folder / "copy")
    elif spoil == "no manifest":
        (folder / "manifest.yaml").unlink()
    if git("status", "--porcelain", cwd=folder).stdout:
        commit(folder)
    done = push(outrider, folder, name)
    assert done.returncode != 0
    assert "[remote rejected]" in done.stderr
    assert told in done.stderr.replace("\nremote: ", " "), done.stderr
    assert outrider("script", "show", name).status != 0, "nothing of it is published"


@pytest.mark.parametrize("branch", ["main", "review", "review/", "review/checks", "review/Checks/x", "other/checks/x"])
def test_no_other_branch_can_be_pushed(outrider: Shell, branch: str) -> None:
    folder = signed(outrider, "checks/branches")
    where = address(outrider, outrider.token_file.read_text().strip())
    assert git("push", where, f"HEAD:refs/heads/{branch}", cwd=folder, check=False).returncode != 0
    for words in (["--force", where, "HEAD:refs/heads/main"], [where, ":refs/heads/main"], [where, "HEAD:refs/tags/x"]):
        assert git("push", *words, cwd=folder, check=False).returncode != 0
    assert git("push", "--mirror", where, cwd=folder, check=False).returncode != 0


def test_who_may_push(outrider: Shell) -> None:
    folder = signed(outrider, "checks/whose")
    assert "403" in push(outrider, folder, "checks/whose", token=viewer(outrider)).stderr
    assert "Authentication failed" in push(outrider, folder, "checks/whose", token="ort_wrong").stderr
    anybody = git(
        "push", f"{outrider.url}/git/scripts.git", "HEAD:refs/heads/review/checks/whose", cwd=folder, check=False
    )
    assert "could not read Username" in anybody.stderr


def test_what_somebody_may_not_read_cannot_be_built_on(outrider: Shell) -> None:
    """A commit may name an object that its sender has not; the server must not put it in."""
    outrider.publish(outrider.write("checks/hidden", "return 'hidden'\n", more="visibility: private\n"))
    git("clone", "-q", address(outrider, outrider.token_file.read_text().strip()), "all", cwd=outrider.work)
    hidden = git("rev-parse", "HEAD:checks/hidden/main.lua", cwd=outrider.work / "all").stdout.strip()
    folder = signed(outrider, "checks/thief")
    listed = git("ls-tree", "HEAD", cwd=folder).stdout + f"100644 blob {hidden}\tstolen.lua\n"
    made = subprocess.run(
        ["git", "mktree", "--missing"], cwd=folder, input=listed, capture_output=True, text=True, check=True, timeout=60
    ).stdout.strip()
    who = ["-c", "user.name=x", "-c", "user.email=x@y"]
    bad = git(*who, "commit-tree", "-m", "x", made, cwd=folder).stdout.strip()
    (folder / ".git/refs/heads/bad").write_text(bad + "\n")
    packed = subprocess.run(
        ["git", "pack-objects", "--stdout", "--missing=allow-any", "--revs"], cwd=folder, input=f"{bad}\n".encode(),
        capture_output=True, timeout=60,
    )  # fmt: skip
    assert packed.returncode == 0, packed.stderr
    command = f"{'0' * 40} {bad} refs/heads/review/checks/thief\0report-status".encode()
    body = f"{len(command) + 4:04x}".encode() + command + b"0000" + packed.stdout
    answer = outrider.fleet.api.post(
        "/git/scripts.git/git-receive-pack", content=body,
        headers={
            "Authorization": f"Bearer {author(outrider)}", "Content-Type": "application/x-git-receive-pack-request"
        },
    )  # fmt: skip
    assert answer.status_code == 200
    assert "ng refs/heads/review/checks/thief git does not take the push" in answer.text


class Pusher(threading.Thread):
    """Pushes one version after the other until the server is gone, and notes what was acknowledged."""

    def __init__(self, outrider: Shell, first: int) -> None:
        super().__init__()
        self.begun, self.over, self.at = threading.Event(), threading.Event(), first
        self.taken: set[str] = set()
        self._outrider = outrider

    def run(self) -> None:
        while not self.over.is_set():
            version = f"1.{self.at}.0"
            folder = signed(self._outrider, "checks/kill", f"return {self.at}\n", version=version)
            self.begun.set()
            if push(self._outrider, folder, "checks/kill").returncode != 0:
                return
            self.taken.add(version)
            self.at += 1


@pytest.mark.timeout(300)
def test_nothing_is_half_done_whenever_the_server_dies(own_fleet: Fleet, tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")
    dice = random.Random(seed)
    (tmp_path / "home").mkdir()
    outrider = Shell(tmp_path / "home", own_fleet)
    taken: set[str] = set()
    number = 0
    for _ in range(ROUNDS):
        pusher = Pusher(outrider, number)
        pusher.start()
        assert pusher.begun.wait(60)
        pusher.over.wait(dice.uniform(0, 0.25))
        own_fleet.server.kill()
        pusher.over.set()
        pusher.join(90)
        assert not pusher.is_alive()
        taken |= pusher.taken
        own_fleet.start_server()
        items = (
            expect(own_fleet.api.get("/api/v1/scripts/log", params={"name": "checks/kill"}), 200)["items"]
            if taken
            else []
        )
        found = {each["version"] for each in items}
        assert taken <= found
        assert not (own_fleet.directory / "server" / "pushes").exists(), "what the crash left is gone"
        folder = signed(outrider, "checks/kill", f"return {pusher.at}\n", version=f"1.{pusher.at}.0")
        again = push(outrider, folder, "checks/kill")
        assert again.returncode == 0, again.stderr
        taken.add(f"1.{pusher.at}.0")
        number = pusher.at + 1
    checked = git("-C", str(own_fleet.directory / "server" / "scripts.git"), "fsck", "--full", "--strict", cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
