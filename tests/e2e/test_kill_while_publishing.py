"""Kill -9 of the server in the middle of a publish: what was acknowledged is there, what was not is not half there.

Versions are published one after the other while the server is killed at random moments. After each new start git and
database tell of the same versions, every version is whole, and what got lost on the way can be published again.
"""

from __future__ import annotations

import os
import random
import subprocess
import threading
from pathlib import Path

import httpx2
import pytest

from fleet import Fleet, expect, fleet, script_bundle
from protocol.bundle import Bundle

ROUNDS = int(os.environ.get("OUTRIDER_KILL_ROUNDS", "6"))
LONGEST_S = 0.12  # from the beginning of a publish to the kill; one takes about half of it


def bundle(number: int) -> Bundle:
    """Two names that take turns, so that a kill also meets what is not the first version of its name."""
    return script_bundle(f"checks/kill-{number % 2}", f"return {number}\n", version=f"1.{number}.0")


def tags(fleet: Fleet) -> set[str]:
    answer = fleet.api.get("/git/scripts.git/info/refs")
    assert answer.status_code == 200, answer.text
    return {line.partition("refs/tags/")[2] for line in answer.text.splitlines() if "refs/tags/" in line}


def rows(fleet: Fleet) -> dict[str, str]:
    items = expect(fleet.api.get("/api/v1/scripts", params={"limit": 500}), 200)["items"]
    return {f"{item['name']}@{item['version']}": item["digest"] for item in items}


class Publisher(threading.Thread):
    """Publishes one version after the other until the server is gone, and notes what was acknowledged."""

    def __init__(self, made: Fleet, first: int, acknowledged: dict[str, str]) -> None:
        super().__init__()
        self.begun, self.taken, self.over = threading.Event(), threading.Event(), threading.Event()
        self.at = first
        self._fleet, self._acknowledged = made, acknowledged

    def run(self) -> None:
        while not self.over.is_set():
            wanted = bundle(self.at)
            self.begun.set()
            try:
                answer = self._fleet.publish(wanted)
            except httpx2.TransportError:
                return
            expect(answer, 201)
            self._acknowledged[f"{wanted.manifest.name}@{wanted.manifest.version}"] = wanted.digest
            self.at += 1
            self.taken.set()


@pytest.mark.timeout(300)
def test_git_and_database_agree_whenever_the_server_dies(tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")
    dice = random.Random(seed)
    acknowledged: dict[str, str] = {}
    lost = 0
    with fleet(tmp_path) as made:
        number = 0
        for at in range(ROUNDS):
            publisher = Publisher(made, number, acknowledged)
            publisher.start()
            # Every other time something was acknowledged before, on however slow a machine.
            assert (publisher.begun, publisher.taken)[at % 2].wait(60)
            publisher.over.wait(dice.uniform(0, LONGEST_S) + dice.choice([0, 0.1, 0.3]))
            made.server.kill()
            publisher.over.set()
            publisher.join(60)
            assert not publisher.is_alive()
            made.start_server()

            found = rows(made)
            assert tags(made) == set(found), "git and database tell of other versions"
            assert acknowledged.items() <= found.items(), "what was acknowledged is gone"
            for name, digest in found.items():
                script, _, version = name.partition("@")
                shown = made.api.get("/api/v1/scripts/show", params={"name": script, "version": version})
                assert expect(shown, 200)["digest"] == digest
            number = publisher.at
            cut_off = bundle(number)
            lost += f"{cut_off.manifest.name}@{cut_off.manifest.version}" not in found
            expect(made.publish(cut_off), 201)
            number += 1
        repository = made.directory / "server" / "scripts.git"
        checked = subprocess.run(
            ["git", "-C", str(repository), "fsck", "--full", "--strict"], capture_output=True, text=True, timeout=60
        )
        assert checked.returncode == 0, checked.stderr
    print(f"{len(acknowledged)} acknowledged, {lost} of {ROUNDS} kills before the row was written")
    assert acknowledged
