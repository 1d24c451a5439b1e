"""How the editor of a file of a host is started beside a terminal."""

from __future__ import annotations

import sys
from pathlib import Path

from cli.remote_edit import environment, words
from cli.settings import Context


def test_nothing_that_a_host_said_is_an_option() -> None:
    assert words("web-3", "/a --yes", "--yes", "s_1") == [
        sys.executable, "-m", "cli", "file", "edit", "--reason=--yes", "--beside=s_1", "--", "web-3:/a --yes",
    ]  # fmt: skip


def test_it_speaks_to_the_same_server_as_the_same_person() -> None:
    context = Context("https://one", "ort_x", Path("/k"))
    told = environment(context, None, {"HOME": "/h", "OUTRIDER_SERVER": "https://other", "OUTRIDER_TOKEN": "ort_y"})
    assert told == {
        "HOME": "/h", "OUTRIDER_SERVER": "https://one", "OUTRIDER_TOKEN": "ort_x", "OUTRIDER_KEY": "/k"
    }  # fmt: skip
    assert environment(context, "/named", {})["OUTRIDER_KEY"] == "/named"
    assert environment(Context("https://one"), None, {}) == {"OUTRIDER_SERVER": "https://one"}
