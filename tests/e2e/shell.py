"""The command ``outrider`` as somebody at a keyboard calls it: words in, exit status and two streams out.

A call runs in this process, which is a hundred times quicker to start, or as a program of its own where a real pipe,
a real standard input or a signal matters. Nothing of the caller's own settings reaches either.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from inspect import Parameter, Signature
from pathlib import Path
from typing import Any

import pytest

from cli.main import run
from fleet import Fleet

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 60.0


@dataclass(frozen=True)
class Called:
    """What one command line gave."""

    status: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """Stdout as JSON."""
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """The one line of JSON on stderr that an error is with ``--json``."""
        (line,) = self.err.splitlines()
        return dict(json.loads(line)["error"])

    @property
    def rows(self) -> list[list[str]]:
        """A table in a pipe: its cells, without the titles."""
        return [re.split(r" {2,}", line) for line in self.out.splitlines()[1:]]


def outrider_on(fleet: str) -> Any:
    """Return the fixture of the command ``outrider`` of somebody who may do everything on a fleet.

    Args:
        fleet: Its fixture. It is a parameter, not looked up by the test, so that what it starts is there before.
    """

    def outrider(**given: Any) -> Shell:
        return Shell(given["tmp_path"], given[fleet])

    parameters = [Parameter(name, Parameter.KEYWORD_ONLY) for name in ("tmp_path", fleet)]
    outrider.__signature__ = Signature(parameters)  # type: ignore[attr-defined] - what pytest reads
    return pytest.fixture(outrider)


@dataclass
class Shell:
    """Somebody's environment and working directory, signed in as the server's administrator."""

    home: Path
    fleet: Fleet
    environment: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.work.mkdir(exist_ok=True)
        self.environment = {
            "PATH": os.environ.get("PATH", ""),
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "OUTRIDER_SERVER": self.url,
            "OUTRIDER_TOKEN": self.token_file.read_text().strip(),
            "COLUMNS": "200",
        }

    @property
    def work(self) -> Path:
        """The working directory."""
        return self.home / "work"

    @property
    def url(self) -> str:
        """The server's address."""
        return f"http://127.0.0.1:{self.fleet.port}"

    @property
    def token_file(self) -> Path:
        """The administrator's token."""
        return next((self.fleet.directory / "server").rglob("*admin*token*"))

    def key(self, name: str) -> str:
        """Return the file of somebody's private key, with the public half beside it."""
        path = self.home / f"{name}.key"
        if not path.exists():
            path.write_text(self.fleet.key(name).to_text() + "\n")
            path.chmod(0o600)
        return str(path)

    def __call__(self, *words: str, stdin: str = "") -> Called:
        """Call ``outrider`` in this process."""
        out, err = io.StringIO(), io.StringIO()
        with self._here(stdin), redirect_stdout(out), redirect_stderr(err):
            status = run(list(words))
        return Called(status, out.getvalue(), err.getvalue())

    @contextmanager
    def _here(self, stdin: str) -> Iterator[None]:
        kept, directory, own_input = dict(os.environ), Path.cwd(), sys.stdin
        os.environ.clear()
        os.environ.update(self.environment)
        os.chdir(self.work)
        sys.stdin = io.StringIO(stdin)
        try:
            yield
        finally:
            sys.stdin = own_input
            os.chdir(directory)
            os.environ.clear()
            os.environ.update(kept)

    def program(self, *words: str, stdin: str = "") -> Called:
        """Call ``outrider`` as a program, with pipes as its three streams."""
        done = subprocess.run(
            [sys.executable, "-m", "cli", *words], input=stdin, capture_output=True, text=True, timeout=DEADLINE_S,
            cwd=self.work, env={**self.environment, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        return Called(done.returncode, done.stdout, done.stderr)

    # what many tests need ---------------------------------------------------------------------------------------

    def write(self, name: str, source: str, *, version: str = "1.0.0", tier: str = "observe", more: str = "") -> Path:
        """Write a script in Lua into the working directory and return its folder."""
        folder = self.work / name.replace("/", "-")
        folder.mkdir(exist_ok=True)
        head = f"name: {name}\nversion: {version}\nlanguage: lua\nmain: main.lua\ntier: {tier}\n"
        (folder / "manifest.yaml").write_text(head + more)
        (folder / "main.lua").write_text(source)
        return folder

    def publish(self, folder: Path, *, by: str = "author") -> str:
        """Publish a folder and return the review's id."""
        published = self("script", "publish", str(folder), "--key", self.key(by), "--json")
        assert published.status == 0, published.err
        return str(published.data["review"])

    def approve(self, review: str, *words: str, by: str = "reviewer", reason: str = "CHG-118") -> Called:
        """Approve a review."""
        return self("review", "approve", review, "--key", self.key(by), "--reason", reason, "--yes", *words)

    def install(self, name: str, source: str, **more: Any) -> None:
        """Publish a script in Lua and have it approved."""
        approved = self.approve(self.publish(self.write(name, source, **more)))
        assert approved.status == 0, approved.err
