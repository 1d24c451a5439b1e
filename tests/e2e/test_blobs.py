"""Blobs through a whole Outrider: a script uploads, another fetches and unpacks; the server goes away and is back."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from fleet import Fleet, expect, fleet, script_bundle

CEILING = "highest_tier: operate\naccept_server_word: [run, schedule]\n"


@pytest.fixture(scope="module")
def at_work(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with fleet(tmp_path_factory.mktemp("blobs")) as made:
        made.trust_up_to("operate")
        made.add_agent("host-1", ceiling=CEILING)
        yield made


@pytest.fixture
def place(at_work: Fleet) -> Any:
    """A directory that the policy lets scripts read and write."""
    path = Path(f"/var/lib/blob-tests-{os.getpid()}")
    path.mkdir()
    yield path
    shutil.rmtree(path)


def install(made: Fleet, name: str, source: str, tier: str) -> None:
    made.publish_and_approve(script_bundle(name, source, tier=tier, parameters={
        "path": {"type": "string"}, "blob": {"type": "string"},
    }))  # fmt: skip


def ran(made: Fleet, name: str, **parameters: str) -> Any:
    run = made.run(name, parameters=parameters)
    assert run["status"] == "ok", run
    return run["result"]


def test_from_one_script_to_another(at_work: Fleet, place: Path) -> None:
    install(at_work, "checks/up", 'return fs.upload(param("path"))\n', "inspect")
    install(at_work, "checks/pack", 'return fs.archive({param("path")})\n', "inspect")
    install(at_work, "checks/down", 'return fs.fetch(param("blob"), param("path")).new_hash\n', "operate")
    install(at_work, "checks/unpack", 'return fs.extract(param("blob"), param("path"))\n', "operate")
    data = os.urandom(5 << 20)
    (place / "data").write_bytes(data)
    blob = ran(at_work, "checks/up", path=str(place / "data"))
    assert blob == "sha256:" + hashlib.sha256(data).hexdigest()
    answer = at_work.api.get(f"/api/v1/blobs/{blob}")
    assert answer.content == data
    (told,) = [item for item in at_work.api.get("/api/v1/blobs").json()["items"] if item["hash"] == blob]
    assert [(source["who"], source["name"], source["script"]) for source in told["sources"]] == [
        ("host-1", "data", "checks/up")
    ]
    assert ran(at_work, "checks/down", blob=blob, path=str(place / "copy")) == blob.removeprefix("sha256:")
    assert (place / "copy").read_bytes() == data
    packed = ran(at_work, "checks/pack", path=str(place))
    count = ran(at_work, "checks/unpack", blob=packed, path=str(place / "new"))
    assert count == len(place.parts) - 1 + 2
    assert (place / "new" / str(place)[1:] / "copy").read_bytes() == data
    calls = [record["call"] for record in at_work.records("server") if record["call"].startswith("blob.")]
    assert {"blob.put", "blob.get"} <= set(calls)


def test_what_is_made_while_the_server_is_away_arrives(own_fleet: Fleet) -> None:
    """A schedule goes on by itself, uploads every second, and its blob is there once the server is back."""
    own_fleet.add_agent("host-1", ceiling="highest_tier: inspect\naccept_server_word: [run, schedule]\n")
    source = 'local f = fs.upload("/etc/hostname", {name = "while away"})\nreturn f\n'
    own_fleet.publish_and_approve(script_bundle("checks/up", source, tier="inspect"))
    body = {"script": "checks/up", "on": "host-1", "every": "1s", "splay": "0s", "parameters": {}}
    expect(own_fleet.api.post("/api/v1/schedules", json=body), 201)
    outbox = own_fleet.directory / "host-1" / "blobs"
    own_fleet.wait_for("a first run", lambda: own_fleet.api.get("/api/v1/runs").json()["items"])
    own_fleet.server.kill()
    own_fleet.wait_for("a blob in the outbox", lambda: [path for path in outbox.glob("*") if len(path.name) == 64])
    own_fleet.start_server()
    own_fleet.wait_for("it to leave", lambda: not list(outbox.glob("*")))
    (blob,) = own_fleet.api.get("/api/v1/blobs").json()["items"]
    assert own_fleet.api.get(f"/api/v1/blobs/{blob['hash']}").content == Path("/etc/hostname").read_bytes()
