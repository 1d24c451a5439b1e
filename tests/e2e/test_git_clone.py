"""``git clone`` of a running server, by the git that people have."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from shell import Shell

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed here")


def git(*words: str, cwd: Path, smart: bool = True, check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(cwd), "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_SMART_HTTP": "1" if smart else "0",
    }  # fmt: skip
    done = subprocess.run(["git", *words], cwd=cwd, env=environment, capture_output=True, text=True, timeout=60)
    assert not check or done.returncode == 0, done.stderr
    return done


def viewer(outrider: Shell) -> str:
    directory = outrider.fleet.directory / "server"
    made = outrider.fleet.run_tool("server", "token", "--dir", str(directory), "--principal", "vic", "--role", "viewer")
    return made.stdout.strip()


def address(outrider: Shell, token: str) -> str:
    return f"{outrider.url.replace('://', f'://git:{token}@')}/git/scripts.git"


@pytest.mark.parametrize("smart", [True, False])
def test_clone_as_somebody_who_may_not_see_all(outrider: Shell, smart: bool) -> None:
    name = f"checks/clone-{smart}".lower()
    outrider.publish(outrider.write(f"{name}/open", "return 'open'\n"))
    outrider.publish(outrider.write(f"{name}/hidden", "return 'hidden'\n", more="visibility: private\n"))
    git("clone", "-q", address(outrider, viewer(outrider)), "got", cwd=outrider.work, smart=smart)
    got = outrider.work / "got"
    assert (got / name / "open/main.lua").read_text() == "return 'open'\n"
    assert not (got / name / "hidden").exists()
    assert f"{name}/open@1.0.0" in git("tag", cwd=got).stdout
    assert "hidden" not in git("log", "--all", "--stat", cwd=got).stdout
    git("fsck", "--full", "--strict", cwd=got)

    whole = outrider.work / "whole"
    token = outrider.token_file.read_text().strip()
    git("clone", "-q", address(outrider, token), "whole", cwd=outrider.work, smart=smart)
    assert (whole / name / "hidden/main.lua").exists()
    for what in (f"{name}/hidden@1.0.0^{{commit}}", f"{name}/hidden@1.0.0:{name}/hidden/main.lua"):
        secret = git("rev-parse", what, cwd=whole).stdout.strip()
        for version in ("0", "2"):
            taken = git("-c", f"protocol.version={version}", "fetch", "-q", "origin", secret, cwd=got, check=False)
            assert taken.returncode != 0, "an object by its id is asked for, and not had"
        assert git("cat-file", "-e", secret, cwd=got, check=False).returncode != 0

    outrider.publish(outrider.write(f"{name}/later", "return 'later'\n"))
    git("pull", "-q", cwd=got, smart=smart)
    assert (got / name / "later/main.lua").exists()


def test_push_is_refused(outrider: Shell) -> None:
    outrider.publish(outrider.write("checks/clone-push", "return 1\n"))
    token = outrider.token_file.read_text().strip()
    git("clone", "-q", address(outrider, token), "mine", cwd=outrider.work)
    mine = outrider.work / "mine"
    git("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x", cwd=mine)
    assert git("push", "origin", "HEAD:main", cwd=mine, check=False).returncode != 0


def test_clone_without_a_token(outrider: Shell) -> None:
    refused = git("clone", f"{outrider.url}/git/scripts.git", "none", cwd=outrider.work, check=False)
    assert refused.returncode != 0
    assert "could not read Username" in refused.stderr, "it would have asked"
    wrong = git("clone", address(outrider, "ort_wrong"), "none", cwd=outrider.work, check=False)
    assert "Authentication failed" in wrong.stderr


def principal(outrider: Shell, name: str, role: str = "author") -> str:
    directory = outrider.fleet.directory / "server"
    made = outrider.fleet.run_tool("server", "token", "--dir", str(directory), "--principal", name, "--role", role)
    return made.stdout.strip()


def test_an_owner_finds_their_own_private_scripts(outrider: Shell) -> None:
    """On a branch of their own; nobody else gets an object of it."""
    mine, other, shared = "checks/own-mine", "checks/own-other", "checks/own-shared"
    outrider.publish(outrider.write(shared, "return 'shared'\n"))
    outrider.publish(outrider.write(mine, "return 'mine'\n", more="visibility: private\n"), by="both")
    outrider.publish(outrider.write(other, "return 'other'\n", more="visibility: private\n"))
    owner = address(outrider, principal(outrider, "both"))
    git("clone", "-q", owner, "got", cwd=outrider.work)
    got = outrider.work / "got"
    assert (got / shared / "main.lua").exists()
    assert not (got / mine).exists(), "main is the same for everybody"
    assert git("show", f"origin/private:{mine}/main.lua", cwd=got).stdout == "return 'mine'\n"
    assert git("show", f"{mine}@1.0.0:{mine}/main.lua", cwd=got).stdout == "return 'mine'\n"
    assert "own-other" not in git("log", "--all", "--stat", cwd=got).stdout
    git("fsck", "--full", "--strict", cwd=got)

    git("clone", "-q", address(outrider, viewer(outrider)), "less", cwd=outrider.work)
    less = outrider.work / "less"
    assert "private" not in git("branch", "-a", cwd=less).stdout
    assert git("rev-parse", "main", cwd=less).stdout == git("rev-parse", "origin/main", cwd=got).stdout
    for what in (f"{mine}@1.0.0^{{commit}}", f"{mine}@1.0.0:{mine}/main.lua"):
        secret = git("rev-parse", what, cwd=got).stdout.strip()
        assert git("fetch", "-q", "origin", secret, cwd=less, check=False).returncode != 0

    outrider.publish(outrider.write(mine, "return 'next'\n", version="1.1.0", more="visibility: private\n"), by="both")
    outrider.publish(outrider.write("checks/own-later", "return 'later'\n"))
    git("pull", "-q", cwd=got)
    assert (got / "checks/own-later/main.lua").exists()
    assert git("show", f"origin/private:{mine}/main.lua", cwd=got).stdout == "return 'next'\n"

    given = outrider("script", "transfer", mine, "--to", "author", "--key", outrider.key("both"), "--yes")
    assert given.status == 0, given.err
    git("clone", "-q", address(outrider, principal(outrider, "author")), "after", cwd=outrider.work)
    after = outrider.work / "after"
    assert git("show", f"origin/private:{mine}/main.lua", cwd=after).stdout == "return 'next'\n", "the new owner's"
    assert git("show", f"origin/private:{other}/main.lua", cwd=after).stdout == "return 'other'\n"
