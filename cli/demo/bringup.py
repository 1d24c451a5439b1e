"""The steps that bring a demo up, each of which finds its work done when an earlier demo did it.

Order: server initialised, keys made meanwhile; server ready; roster; agent enrolled and started; checks published and
approved; schedules; agent connected. Every step raises an ``OutriderError`` that says what did not work.
"""

from __future__ import annotations

import base64
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cli.api import Api
from cli.demo import people
from cli.demo.checks import DISK, Check
from cli.demo.checks import gather as gather_checks
from cli.demo.people import People
from cli.demo.place import HOST, Place
from cli.demo.processes import Daemon, Daemons
from cli.settings import Context, context_document, read_private, write_private
from protocol.errors import ConflictError, OutriderError, UnavailableError

AGENT = "demo"
CEILING = """\
# The demo's host, which is your own machine: terminals and forwards are tier admin. A careful host says observe.
highest_tier: admin
accept_server_word: [run, schedule, session]
"""
MAX_TOKEN_FILE_BYTES = 4096


@dataclass(frozen=True)
class Rhythm:
    """How often the demo's schedules fire."""

    every_s: float
    splay_s: float


@dataclass
class Demo:
    """A demo on its way up, and what is known of it so far."""

    place: Place
    daemons: Daemons
    say: Callable[[str, str], None]  # (what, text): a step is done
    api: Api = field(init=False)
    people: People = field(init=False)
    checks: list[Check] = field(init=False)
    walls: list[Mapping[str, Any]] = field(default_factory=list)
    schedules: dict[str, str] = field(default_factory=dict)  # script -> schedule id
    started: float = field(default_factory=time.monotonic)

    def bring_up(self, rhythm: Rhythm) -> None:
        """Do all steps."""
        self.place.make()
        self._server()
        self._roster()
        self._agent()
        self._publish()
        self._schedule(rhythm)
        self.daemons.wait_for("the agent to connect", self._connected)
        self.say("agent", f"{AGENT} connected  {time.monotonic() - self.started:.1f} s")
        self.daemons.wait_for("the agent to report its walls", self._has_walls)
        up = sum(1 for wall in self.walls if wall.get("state") == "up")
        self.say("sandbox", f"{up} of {len(self.walls)} walls up on this kernel (outrider doctor)")

    # steps ------------------------------------------------------------------------------------------------------

    def _server(self) -> None:
        place = self.place
        daemon = Daemon("server", ["server", "run", "--dir", str(place.server)], place.log("server"))
        if not (place.server / "config.yaml").exists():
            arguments = ["server", "init", "--dir", str(place.server), "--listen", f"{HOST}:{place.port}"]
            self.daemons.tool("outrider-server init", arguments, place.log("server"))
        self.daemons.start(daemon)
        self.people = people.gather(place.keys)  # while the server starts
        self.checks = gather_checks()
        context = Context(place.url, self._admin_token(), place.keys / "demo-author")
        write_private(place.context, yaml.safe_dump(context_document(context), sort_keys=False))
        self.api = Api(context)
        self.daemons.wait_for("the server to be ready", self._ready)
        self.say("server", f"ready, SQLite {sqlite3.sqlite_version}  {time.monotonic() - self.started:.1f} s")

    def _admin_token(self) -> str:
        found = sorted(self.place.server.rglob("*admin*token*"))
        if not found:
            raise UnavailableError(f"the server left no admin token in {self.place.server}")
        return read_private(found[0], MAX_TOKEN_FILE_BYTES).strip()

    def _ready(self) -> bool:
        try:
            self.api.get("/readyz")
        except UnavailableError:
            return False
        return True

    def _roster(self) -> None:
        """Sign the roster anew on every start, so that an old demo's does not expire."""
        try:
            version = int(self.api.get("roster").get("version") or 0)
        except OutriderError as error:
            if error.code != "not_found":
                raise
            version = 0
        self.api.put("roster", {"envelope": self.people.roster(version + 1)})

    def _agent(self) -> None:
        place = self.place
        if not (place.agent / "agent.json").exists():
            token = place.directory / "join-token"
            write_private(token, str(self.api.post("invites", {"ttl_s": 600, "name": AGENT})["token"]) + "\n")
            arguments = ["agent", "enroll", "--server", place.url, "--token-file", str(token)]
            arguments += ["--dir", str(place.agent), "--name", AGENT]
            self.daemons.tool("outrider-agent enroll", arguments, place.log("agent"))
            token.unlink()
            (place.agent / "ceiling.yaml").write_text(CEILING, encoding="utf-8")
        self.daemons.start(Daemon("agent", ["agent", "run", "--dir", str(place.agent)], place.log("agent")))

    def _connected(self) -> bool:
        try:
            return bool(self.api.get(f"agents/{AGENT}").get("connected"))
        except UnavailableError:
            return False

    def _has_walls(self) -> bool:
        facts = self.api.get(f"agents/{AGENT}").get("facts") or {}
        self.walls = list(facts.get("walls") or [])
        return bool(self.walls)

    def _publish(self) -> None:
        for check in self.checks:
            self._publish_one(check)
        tiers = ", ".join(sorted({check.bundle.manifest.tier.label for check in self.checks}))
        self.say(
            "scripts", f"{len(self.checks)} checks published by demo-author, approved by demo-reviewer, tier {tiers}"
        )
        if all(check.name != DISK for check in self.checks):
            self.say("", f"{DISK} is left out: this machine has no block device")

    def _publish_one(self, check: Check) -> None:
        packed = base64.b64encode(check.bundle.pack()).decode("ascii")
        try:
            body = {"publication": self.people.publication(check.bundle), "bundle": packed}
            published = self.api.post("scripts", body)
        except ConflictError as error:  # the same version with other contents: an older Outrider made this .demo
            raise ConflictError(
                f"{check.name} differs from what {self.place.directory} holds; delete that directory to begin anew",
                detail=error.message,
            ) from None
        if published.get("review") and published.get("status") != "approved":
            path = f"reviews/{published['review']}/approve"
            self.api.post(path, {"approval": self.people.approval(check.bundle)})

    def _schedule(self, rhythm: Rhythm) -> None:
        have = {item["script"]: item for item in self.api.items("schedules")}
        for check in self.checks:
            found = have.get(check.name)
            if found is not None and found.get("every_s") == rhythm.every_s:
                self.schedules[check.name] = str(found["id"])
                continue
            if found is not None:  # an earlier start had another rhythm
                self.api.delete(f"schedules/{found['id']}")
            body = {
                "script": check.name, "on": AGENT, "every_s": rhythm.every_s, "splay_s": rhythm.splay_s,
                "overlap": "skip", "catch_up": "none", "parameters": dict(check.parameters),
            }  # fmt: skip
            self.schedules[check.name] = str(self.api.post("schedules", body)["id"])
        self.say("schedules", f"every {rhythm.every_s:g} s with splay; first results below")


def log_paths(place: Place) -> list[Path]:
    """Return the logs that tell why a demo failed."""
    return [place.log("server"), place.log("agent")]
