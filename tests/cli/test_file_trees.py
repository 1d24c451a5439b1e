"""Folders of a host that lies: nothing lands elsewhere, nothing goes on without end, and each lie is told."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from cli.files import trees
from cli.files.download import Downloads, Fetched, _kept
from cli.files.local import Incoming
from cli.files.place import Remote
from cli.files.progress import Progress
from cli.files.report import Report
from cli.output import Output
from cli.sessions import RemoteSession
from cli.wire import messages
from protocol.errors import InternalError, OutriderError, ProtocolError, TooLargeError
from protocol.frames import encode, prefixed

ROOT = Remote("web-3", "/srv/app")
ABOUT = {"mode": "0644", "mtime": 1.0}


class Liar:
    """A session with a host that says what it wants to."""

    def __init__(self, items: Iterator[dict[str, Any]] | list[dict[str, Any]], link: Any = "x") -> None:
        self.items = items
        self.link = link

    def stream(self, call: str, **_: Any) -> Iterator[dict[str, Any]]:
        assert call == "fs.walk"
        yield from self.items

    def call(self, call: str, **_: Any) -> Any:
        assert call == "fs.readlink"
        return self.link


class Writes:
    """Downloads that write a word."""

    def into(self, path: str, directory: int, name: str, told: str, *, keeps: bool = False) -> Fetched:
        incoming = Incoming(directory, name, told)
        incoming.write(b"theirs")
        incoming.finish(0o644, None)
        incoming.close()
        return Fetched(ABOUT, 6, 0, False)


def report() -> tuple[Report, io.StringIO]:
    told = io.StringIO()
    return Report(Output(stdout=io.StringIO(), stderr=told), Progress(is_shown=False)), told


def copy(host: Liar, place: Path) -> tuple[Report, str]:
    made, told = report()
    trees.download_tree(
        cast(RemoteSession, host), cast(Downloads, Writes()), ROOT, str(place), made, keeps=False
    )  # fmt: skip
    return made, told.getvalue()


@pytest.mark.parametrize(
    "name",
    [
        "/srv/app/../../etc/cron.d/x", "/etc/passwd", "/srv/app", "/srv/app/", "/srv/app//x", "/srv/app/./x",
        "/srv/app/a/../../x", "relative", "", "/srv/application/x", "/srv/app/a\0b", b"/srv/app/../\xff", "/srv/app/..",
        None, 5, ["x"],
    ],
)  # fmt: skip
def test_a_name_that_leads_elsewhere_lands_nowhere(tmp_path: Path, name: Any) -> None:
    here = tmp_path / "deep" / "here"
    made, told = copy(Liar([{"path": name, "type": "file", "size": 1}]), here)
    assert (made.files, made.failed) == (0, 1)
    assert "does not lie below" in told
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_link_that_it_gave_is_not_written_through(tmp_path: Path) -> None:
    """A link, and then a file below it: in whatever order, and told as whatever."""
    outside = tmp_path / "outside"
    outside.mkdir()
    lies = [
        {"path": "/srv/app/way", "type": "symlink"}, {"path": "/srv/app/way/evil", "type": "file"},
        {"path": "/srv/app/way", "type": "symlink"}, {"path": "/srv/app/way/more", "type": "directory"},
    ]  # fmt: skip
    copy(Liar(lies, str(outside)), tmp_path / "here")
    copy(Liar(lies, str(outside)), tmp_path / "here")  # now it is there from the first time
    assert list(outside.iterdir()) == []


def test_what_it_calls_neither_file_nor_folder_is_left_out(tmp_path: Path) -> None:
    items = [{"path": "/srv/app/x", "type": kind} for kind in ("socket", None, 7)] + [{"path": "/srv/app/y"}]
    made, _ = copy(Liar(items), tmp_path / "here")
    assert (made.files, made.left_out) == (0, 4)


def test_a_list_without_end_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "MAX_ENTRIES", 10)
    numbers = itertools.count()
    endless = ({"path": f"/srv/app/{number}", "type": "directory"} for number in numbers)
    with pytest.raises(TooLargeError, match="more than the 10 entries"):
        copy(Liar(endless), tmp_path / "here")
    assert next(numbers) == 11, "one more than it was asked for"


@pytest.mark.parametrize(
    "about", [{}, {"mode": "0644"}, {"mode": 420, "mtime": 1.0}, {"mode": "rw", "mtime": 1}, {"mode": "-7", "mtime": 1},
              {"mode": "0644", "mtime": "now"}, {"mode": "0644", "mtime": 1e300}, {"mode": "0644", "mtime": None}],
)  # fmt: skip
def test_what_stands_about_a_file_is_looked_at(about: dict[str, Any]) -> None:
    assert _kept(ABOUT) == (0o644, 1.0)
    with pytest.raises(ProtocolError):
        _kept(about)


@pytest.mark.parametrize("message", [["error"], ["error", None], ["error", 5], ["error", {}], ["error", {"code": []}]])
def test_an_error_of_any_form_is_one(message: Any) -> None:
    data = io.BytesIO(prefixed(encode(message)))
    with pytest.raises(OutriderError) as caught:
        list(messages(data.read))
    assert isinstance(caught.value, InternalError)
