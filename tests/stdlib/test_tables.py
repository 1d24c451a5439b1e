"""The server's tables of the calls: they are what the declarations say, and bring no implementation along."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from protocol.errors import InternalError
from sandbox.analysis import analyse
from stdlib import catalogue, tables


def test_file_is_what_the_declarations_say() -> None:
    assert tables.FILE.read_text(encoding="utf-8") == tables.text(), "run make docs"


def test_what_is_read_is_what_the_catalogue_says() -> None:
    assert tables.load() == catalogue.load().tables()


def test_a_server_that_reads_a_script_loads_no_implementation_of_a_call() -> None:
    program = """
import json, sys
import server.__main__, server.app
from sandbox.analysis import analyse
from server.findings import known_calls
from server.services.insights import made_by
found = analyse("lua", {"main.lua": b"return sys.uptime()"}, "main.lua", known_calls())
made_by()
print(json.dumps([sorted(name for name in sys.modules if name.split(".")[0] == "stdlib"), list(found.calls)]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout) == [["stdlib", "stdlib.tables"], ["sys.uptime"]]


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ('sys.cron_set("x y", "@daily", "df")', "name is no name of a job"),
        ('sys.cron_set("x", "61 * * * *", "df")', "schedule must be five fields"),
        ('sys.cron_set("x", "5 4 * jan-mar mon,fri", "df")', None),
        ('sys.package_install({"-y"})', "names has an item that cannot be the name of a package"),
        ('sys.user_change("mia", "create", {groups = {"adm,root"}})', "groups has an item that cannot be"),
        ('sys.service_control("-x", "stop")', "name cannot be the name of a unit"),
        ('sys.reboot("-h")', "reason must be printable and begin with"),
        ('net.download("https://web.test/x", "md5")', "sha256 must be 64 lower-case hexadecimal digits"),
        ('fs.write("/tmp/x", "x", {if_hash = "none"})', "if_hash must be a sha256 in hex"),
    ],
)
def test_a_text_without_the_form_of_its_parameter_is_seen_without_a_run(call: str, told: str | None) -> None:
    found = analyse("lua", {"main.lua": call.encode()}, "main.lua", tables.load())
    messages = [message for _, message in found.wrong]
    assert len(messages) == (0 if told is None else 1), messages
    assert told is None or told in messages[0]


@pytest.mark.parametrize("content", [None, "", "{}", "[]", "[1]", "[{]"])
def test_an_installation_that_is_not_whole_says_so(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without tables every call would be unknown, and a script that makes any would look harmless."""
    path = tmp_path / "tables.json"
    if content is not None:
        path.write_text(content)
    monkeypatch.setattr(tables, "FILE", path)
    with pytest.raises(InternalError, match="no tables of the calls"):
        tables.load()
