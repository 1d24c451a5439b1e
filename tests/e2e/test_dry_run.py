"""``--dry-run`` on this machine and on a host: decided, recorded, shown, and not done."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from shell import Shell

from fleet import Fleet, fleet, script_bundle

PLACE = Path(f"/tmp/outriderdrye-{os.getpid()}")
SOURCE = f'fs.write("{PLACE}/new", "x")\nreturn {{ctx.dry_run(), #fs.list("{PLACE}")}}\n'


@pytest.fixture
def place() -> Iterator[Path]:
    PLACE.mkdir()
    yield PLACE
    shutil.rmtree(PLACE)


@pytest.fixture(scope="module")
def at_work(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("dry")) as made:
        made.trust_up_to("operate")
        made.add_agent("host-1", ceiling="highest_tier: operate\naccept_server_word: []\n")
        made.publish_and_approve(script_bundle("checks/change", SOURCE, tier="operate"))
        yield made


def test_on_a_host_with_a_signed_order(at_work: Fleet, place: Path, tmp_path: Path) -> None:
    shell = Shell(tmp_path, at_work)
    words = ("run", "host-1", "checks/change", "--sign", "--key", shell.key("operator"))
    dry = shell(*words, "--dry-run")
    assert dry.status == 0, dry.err
    assert "dry run: what was not done has the outcome dry in: outrider record ls --run" in dry.err
    assert list(place.iterdir()) == []
    run = shell("runs", "ls", "--json").data[0]
    assert run["result"] == [True, 0]
    records = shell("record", "ls", "--run", run["id"], "--json").data
    (write,) = [record for record in records if record["call"] == "fs.write"]
    assert (write["verdict"], write["outcome"], write["kind"]) == ("allow", "dry", "call")
    (start,) = [record for record in records if record["kind"] == "run.start"]
    assert start["data"]["dry_run"] is True
    wet = shell(*words)
    assert wet.status == 0, wet.err
    assert [path.name for path in place.iterdir()] == ["new"]


def test_here(tmp_path: Path, at_work: Fleet, place: Path) -> None:
    shell = Shell(tmp_path, at_work)
    (shell.work / "change.lua").write_text(SOURCE)
    dry = shell("script", "run", "change.lua", "--tier", "operate", "--dry-run", "--json")
    assert dry.status == 0, dry.err
    assert dry.data["result"] == [True, 0]
    assert [(made["call"], made["verdict"]) for made in dry.data["calls"]][:1] == [("fs.write", "dry")]
    told = shell("script", "run", "change.lua", "--tier", "operate", "--dry-run")
    assert "dry run: 1 call not carried out" in told.err
    assert list(place.iterdir()) == []
    assert shell("script", "run", "change.lua", "--tier", "operate").status == 0
    assert [path.name for path in place.iterdir()] == ["new"]
