"""Facts are bounded and honest."""

from __future__ import annotations

import tomllib
from pathlib import Path

from agent.facts import VERSION, host_facts


def test_the_version_is_that_of_the_distribution() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert project["project"]["version"] == VERSION


def test_facts_of_this_host() -> None:
    facts = host_facts()
    assert set(facts) == {"hostname", "os", "kernel", "arch", "version"}
    assert all(isinstance(text, str) and text for text in facts.values())


def test_a_host_without_os_release(tmp_path: Path) -> None:
    assert host_facts(tmp_path)["os"] == "unknown"


def test_a_quoted_name_and_a_long_one(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/os-release").write_text(f'ID=x\nPRETTY_NAME="Some Linux {"9" * 1000}"\n')
    name = host_facts(tmp_path)["os"]
    assert name.startswith("Some Linux 9")
    assert len(name) == 256
