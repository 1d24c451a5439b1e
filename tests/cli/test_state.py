"""A demo that moves to another port: server and agent must agree, whenever the move is broken off."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.demo.place import Place
from cli.demo.state import listening_port, move
from cli.settings import write_private
from protocol.errors import DocumentError


@pytest.fixture
def old(tmp_path: Path) -> Place:
    """A demo that was made for port 7443."""
    place = Place(tmp_path, 7443)
    place.make()
    write_private(place.server / "config.yaml", "# Read by outrider-server run.\nlisten: 127.0.0.1:7443\n")
    write_private(place.agent / "agent.json", json.dumps({"format": 1, "server": place.url, "name": "demo"}))
    return place


def agent_of(place: Place) -> dict[str, object]:
    return dict(json.loads((place.agent / "agent.json").read_text()))


def test_both_files_name_the_new_port_and_nothing_else_changes(old: Place) -> None:
    new = Place(old.directory, 7555)
    move(new)
    assert (new.server / "config.yaml").read_text() == "# Read by outrider-server run.\nlisten: 127.0.0.1:7555\n"
    assert agent_of(new) == {"format": 1, "server": "http://127.0.0.1:7555", "name": "demo"}
    assert listening_port(new.server) == 7555
    for path in (new.server / "config.yaml", new.agent / "agent.json"):
        assert path.stat().st_mode & 0o777 == 0o600


def test_same_port_touches_nothing(old: Place) -> None:
    (old.agent / "agent.json").write_text("damaged")
    move(old)
    assert (old.agent / "agent.json").read_text() == "damaged"


def test_nothing_there_yet(tmp_path: Path) -> None:
    move(Place(tmp_path, 7443))
    assert list(tmp_path.iterdir()) == []


def test_server_without_an_agent_yet(old: Place) -> None:
    (old.agent / "agent.json").unlink()
    move(Place(old.directory, 7555))
    assert listening_port(old.server) == 7555


def test_damaged_enrolment_leaves_the_move_undone(old: Place) -> None:
    """So that the next start, with the file repaired, finds it still to do."""
    (old.agent / "agent.json").write_text("{")
    with pytest.raises(DocumentError, match=r"agent\.json"):
        move(Place(old.directory, 7555))
    assert listening_port(old.server) == 7443
