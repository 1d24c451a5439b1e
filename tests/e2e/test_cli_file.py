"""``outrider file``: as somebody at a keyboard uses it, against a real server and agent; broken ways too."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
import tarfile
import threading
import zipfile
from pathlib import Path
from typing import Any

import pytest
from shell import Called, Shell, outrider_on

from fleet import CEILING, Fleet

outrider = outrider_on("host")
ADMIN = ("--tier", "admin", "--reason", "T-7")


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """A directory of the host, which is this machine."""
    made = tmp_path / "there"
    made.mkdir()
    return made


def done(called: Called, status: int = 0) -> Called:
    assert called.status == status, (called.status, called.out, called.err)
    return called


def journal(called: Called) -> str:
    return str(called.data["journal"])


# looking -------------------------------------------------------------------------------------------------------------


def test_ls_shows_what_is_there(outrider: Shell, there: Path) -> None:
    (there / "b").write_text("12345")
    (there / ".hidden").touch()
    (there / "a").mkdir()
    (there / "link").symlink_to("b")
    rows = done(outrider("file", "ls", f"host-1:{there}", *ADMIN)).rows
    assert [(row[0], row[1], row[-1]) for row in rows] == [
        ("directory", "-", "a"), ("file", "5 B", "b"), ("symlink", "-", "link"),
    ]  # fmt: skip
    found = done(outrider("file", "ls", "-la", f"host-1:{there}", "--json", *ADMIN)).data
    assert [item["name"] for item in found] == [".hidden", "a", "b", "link"]
    assert (found[3]["target"], found[2]["mode"], found[2]["size"]) == ("b", "0644", 5)


def test_a_host_is_looked_at_with_no_more_than_it_needs(outrider: Shell, host: Fleet) -> None:
    """Nobody should have to know the tiers to read a log file, and none should be higher than it must."""
    for path, tier in (("/etc/hostname", "inspect"), ("/etc", "observe")):
        verb = "ls" if path == "/etc" else "cat"
        done(outrider.program("file", verb, f"host-1:{path}"))
        newest = host.api.get("/api/v1/sessions", params={"limit": 1}).json()["items"][0]
        assert (newest["tier"], newest["kind"]) == (tier, "files")


def test_stat_and_its_hash(outrider: Shell, there: Path) -> None:
    (there / "x").write_bytes(b"abc")
    found = done(outrider("file", "stat", "--hash", f"host-1:{there}/x", "--json", *ADMIN)).data
    assert (found["type"], found["size"], found["sha256"]) == ("file", 3, hashlib.sha256(b"abc").hexdigest())


def test_cat_gives_parts(outrider: Shell, there: Path) -> None:
    (there / "x").write_text("one\ntwo\nthree\n")
    place = f"host-1:{there}/x"
    assert done(outrider.program("file", "cat", place, *ADMIN)).out == "one\ntwo\nthree\n"
    assert done(outrider.program("file", "cat", "--tail", "2", place, *ADMIN)).out == "two\nthree\n"
    assert done(outrider.program("file", "cat", "--bytes", "4-6", place, *ADMIN)).out == "two"
    assert done(outrider.program("file", "cat", "--bytes", "-3", place, *ADMIN)).out == "ee\n"
    done(outrider.program("file", "cat", "--bytes", "x", place, *ADMIN), 2)


def test_diff_of_two(outrider: Shell, there: Path) -> None:
    (there / "x").write_text("one\n")
    (outrider.work / "x").write_text("two\n")
    called = done(outrider("file", "diff", f"host-1:{there}/x", "x", *ADMIN), 1)
    assert "-one\n+two\n" in called.out
    (outrider.work / "x").write_text("one\n")
    assert done(outrider("file", "diff", f"host-1:{there}/x", "x", "--json", *ADMIN)).data["same"] is True


# copying -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 10_000, 9_000_000])
def test_a_file_goes_there_and_back(outrider: Shell, there: Path, size: int) -> None:
    data = os.urandom(size)
    (outrider.work / "x").write_bytes(data)
    (outrider.work / "x").chmod(0o750)
    done(outrider("file", "put", "x", f"host-1:{there}/", *ADMIN))
    assert (there / "x").read_bytes() == data
    assert stat.S_IMODE((there / "x").stat().st_mode) == 0o750
    done(outrider("file", "get", f"host-1:{there}/x", "y", *ADMIN))
    assert (outrider.work / "y").read_bytes() == data
    assert sorted(os.listdir(outrider.work)) == ["x", "y"]
    assert os.listdir(there) == ["x"]


def test_a_file_that_is_there_keeps_its_mode_unless_told(outrider: Shell, there: Path) -> None:
    (there / "x").write_text("old")
    (there / "x").chmod(0o600)
    (outrider.work / "x").write_text("new")
    os.utime(outrider.work / "x", (1_000_000_000, 1_000_000_000))
    done(outrider("file", "put", "x", f"host-1:{there}/x", *ADMIN))
    assert stat.S_IMODE((there / "x").stat().st_mode) == 0o600
    done(outrider("file", "put", "-p", "x", f"host-1:{there}/x", *ADMIN))
    assert stat.S_IMODE((there / "x").stat().st_mode) == 0o644
    assert (there / "x").stat().st_mtime == 1_000_000_000


def plant(root: Path) -> None:
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "sub" / "deep" / "x").write_bytes(os.urandom(100_000))
    (root / "nl\nname").write_text("newline")
    Path(os.fsdecode(os.path.join(os.fsencode(root), b"caf\xe9"))).write_text("latin-1")
    (root / "link").symlink_to("sub/deep/x")
    (root / "out").symlink_to("/etc/passwd")
    (root / "nowhere").symlink_to("gone")
    os.mkfifo(root / "fifo")


def tree(root: Path) -> dict[bytes, Any]:
    found: dict[bytes, Any] = {}
    for base, directories, files in os.walk(os.fsencode(root)):
        for name in (*directories, *files):
            path = os.path.join(base, name)
            key = os.path.relpath(path, os.fsencode(root))
            if os.path.islink(path):
                found[key] = ("link", os.readlink(path))
            elif os.path.isdir(path):
                found[key] = "directory"
            elif os.path.isfile(path):
                found[key] = Path(os.fsdecode(path)).read_bytes()
    return found


def test_folders_go_both_ways_with_their_links_and_odd_names(outrider: Shell, there: Path) -> None:
    plant(outrider.work / "tree")
    called = done(outrider("file", "cp", "-r", "tree", f"host-1:{there}", *ADMIN))
    assert "fifo: left out" in called.err
    assert "1 left out" in called.err
    assert tree(there / "tree") == tree(outrider.work / "tree")
    os.mkfifo(there / "tree" / "fifo")
    called = done(outrider("file", "cp", "-r", f"host-1:{there}/tree", "back", *ADMIN))
    assert "fifo: left out" in called.err
    assert tree(outrider.work / "back") == tree(outrider.work / "tree")
    again = done(outrider("file", "cp", "-r", f"host-1:{there}/tree/.", "back", "--json", *ADMIN))
    assert {json.loads(line)["status"] for line in again.out.splitlines()} == {"ok", "left out"}


def test_what_fails_is_counted_and_the_rest_is_copied(outrider: Shell, there: Path) -> None:
    for name in "abc":
        (there / name).write_text(name)
    (outrider.work / "out" / "there" / "b").mkdir(parents=True)
    called = done(outrider("file", "cp", "-r", f"host-1:{there}", "out", *ADMIN), 1)
    assert "1 failed" in called.err
    assert (outrider.work / "out" / "there" / "c").read_text() == "c"
    (outrider.work / "src" / "a").mkdir(parents=True)
    (outrider.work / "src" / "z").write_text("z")
    called = done(outrider("file", "cp", "-r", "src/.", f"host-1:{there}", *ADMIN), 1)
    assert "1 failed" in called.err
    assert (there / "z").read_text() == "z"


def test_a_link_here_is_never_written_through(outrider: Shell, there: Path) -> None:
    """A host could otherwise have a file of ours overwritten that nobody meant, by a link that it gave before."""
    (there / "d").mkdir()
    (there / "d" / "x").write_text("theirs")
    (outrider.work / "victim").mkdir()
    (outrider.work / "out" / "there").mkdir(parents=True)
    (outrider.work / "out" / "there" / "d").symlink_to(outrider.work / "victim")
    done(outrider("file", "cp", "-r", f"host-1:{there}", "out", *ADMIN), 1)
    assert os.listdir(outrider.work / "victim") == []


def test_a_copy_that_broke_off_goes_on_where_it_stood(outrider: Shell, there: Path) -> None:
    data = os.urandom(3_000_000)
    (there / "x").write_bytes(data)
    part = outrider.work / ".x.outrider-part"
    part.write_bytes(data[:1_000_000])
    called = done(outrider("file", "get", f"host-1:{there}/x", "--json", *ADMIN))
    assert json.loads(called.out)["resumed_at"] == 1_000_000
    assert (outrider.work / "x").read_bytes() == data
    part.write_bytes(b"of another file" * 1000)
    called = done(outrider("file", "get", f"host-1:{there}/x", "--json", *ADMIN))
    assert "resumed_at" not in json.loads(called.out)
    assert (outrider.work / "x").read_bytes() == data
    assert not part.exists()


@pytest.mark.parametrize("verb", ["get", "put"])
def test_a_way_that_breaks_in_the_middle_only_delays(
    own_fleet: Fleet, tmp_path: Path, there: Path, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is killed while a file is on its way, and started again."""
    own_fleet.add_agent("host-1", ceiling=CEILING)
    outrider = Shell(tmp_path, own_fleet)
    from cli.files import progress

    data = os.urandom(40_000_000)
    source, target = (there / "x", outrider.work / "x") if verb == "get" else (outrider.work / "x", there / "x")
    source.write_bytes(data)
    moved = 0
    is_broken = threading.Event()
    original = progress.Progress.add

    def add(self: Any, size: int) -> None:
        nonlocal moved
        moved += size
        if moved > 10_000_000 and not is_broken.is_set():
            is_broken.set()
            own_fleet.server.kill()
            own_fleet.server.start()
        original(self, size)

    monkeypatch.setattr(progress.Progress, "add", add)
    words = (f"host-1:{source}", str(target)) if verb == "get" else (str(source), f"host-1:{target}")
    called = done(outrider("file", verb, *words, *ADMIN, "--retry-for", "60s"))
    assert is_broken.is_set()
    assert "trying again" in called.err
    assert target.read_bytes() == data
    assert moved < 2 * len(data), "it began anew"


def test_an_agent_that_is_started_again_delays_an_upload_too(
    own_fleet: Fleet, tmp_path: Path, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sessions are over with it: a new one is opened, and the file is sent from its beginning."""
    from cli.files import progress

    agent = own_fleet.add_agent("host-1", ceiling=CEILING)
    outrider = Shell(tmp_path, own_fleet)
    data = os.urandom(20_000_000)
    (outrider.work / "x").write_bytes(data)
    is_broken = threading.Event()
    original = progress.Progress.add

    def add(self: Any, size: int) -> None:
        if not is_broken.is_set():
            is_broken.set()
            agent.kill()
            agent.start()
        original(self, size)

    monkeypatch.setattr(progress.Progress, "add", add)
    done(outrider("file", "put", "x", f"host-1:{there}/x", *ADMIN, "--retry-for", "60s"))
    assert is_broken.is_set()
    assert (there / "x").read_bytes() == data


def test_a_file_that_is_written_to_while_it_is_read_is_said(
    outrider: Shell, there: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cli.files import local

    (there / "log").write_bytes(bytes(30_000_000))
    original = local.Incoming.write

    def write(self: Any, data: bytes) -> None:
        with (there / "log").open("ab") as log:
            log.write(b"more\n")
        original(self, data)

    monkeypatch.setattr(local.Incoming, "write", write)
    called = done(outrider("file", "get", f"host-1:{there}/log", *ADMIN))
    assert "was written to while it was read" in called.err
    assert (outrider.work / "log").stat().st_size == 30_000_000


def test_a_full_disk_here_is_said_and_nothing_takes_a_place(outrider: Shell, there: Path) -> None:
    (there / "x").write_bytes(bytes(1_000_000))
    called = done(outrider("file", "get", f"host-1:{there}/x", "/dev/full", *ADMIN), 1)
    assert "No space left on device" in called.err


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (("get", "host-1:relative"), 2, "must be absolute"),
        (("get", "no-colon"), 2, "is not TARGET:PATH"),
        (("get", "host-1:/etc/no/such"), 1, "does not exist"),
        (("get", "host-9:/etc/hostname"), 1, "host-9"),
        (("get", "host-1:/etc"), 1, "is a directory"),
        (("get", "host-1:/etc/shadow", *ADMIN), 1, "denies"),
        (("put", "missing", "host-1:/srv/x", *ADMIN), 1, "No such file"),
        (("put", "here", "host-1:/srv/x"), 2, "--reason"),
        (("put", "here", "there"), 2, "is not TARGET:PATH"),
        (("cp", "here", "there"), 2, "one side"),
        (("cp", "host-1:/etc/hostname", "host-2:/tmp/x"), 2, "one side"),
        (("cp", "host-1:/etc/hostname"), 2, "DESTINATION"),
        (("get", "host-1:/etc/hostname", "--retry-for", "soon"), 2, "--retry-for"),
        (("get", "host-1:/etc/" + "x" * 300), 1, "File name too long"),
        (("get", "host-1:/" + "x/" * 3000), 2, "longer than"),
        (("ls", "host-1:/no/such"), 1, "does not exist"),
        (("rm", "-r", "host-1:/tmp/no/such", *ADMIN), 2, "--yes"),
        (("edit", "host-1:/etc/hostname"), 2, "--yes"),
        (("undo", "host-1", "x", "--reason", "T"), 2, "journal"),
        (("undo", "host-1", "0123456789ab-0123456789abcdef0123", "--reason", "T"), 1, "no entry"),
        (("chmod", "rwx", "host-1:/tmp/x/y", *ADMIN), 2, "mode"),
    ],
)
def test_bad_words_are_named(outrider: Shell, words: tuple[str, ...], status: int, says: str) -> None:
    (outrider.work / "here").write_text("x")
    called = done(outrider("file", *words), status)
    assert says in called.err


# changing ------------------------------------------------------------------------------------------------------------


def test_moving_making_and_removing(outrider: Shell, there: Path) -> None:
    done(outrider("file", "mkdir", "-p", f"host-1:{there}/a/b", *ADMIN))
    (there / "x").write_text("x")
    done(outrider("file", "mv", f"host-1:{there}/x", f"{there}/a/b", *ADMIN))
    assert (there / "a/b/x").read_text() == "x"
    (there / "y").write_text("y")
    done(outrider("file", "mv", f"host-1:{there}/y", f"{there}/a/b/x", *ADMIN), 1)
    done(outrider("file", "mv", "-f", f"host-1:{there}/y", f"{there}/a/b/x", *ADMIN))
    assert done(outrider("file", "chmod", "0600", f"host-1:{there}/a/b/x", "--json", *ADMIN)).data["before"] == "0644"
    removed = done(outrider("file", "rm", f"host-1:{there}/a/b/x", "--json", *ADMIN))
    assert not (there / "a/b/x").exists()
    done(outrider("file", "undo", "host-1", journal(removed), *ADMIN))
    assert (there / "a/b/x").read_text() == "y"
    removed = done(outrider("file", "rm", "-r", f"host-1:{there}/a", "--yes", "--json", *ADMIN))
    assert os.listdir(there) == []
    done(outrider("file", "undo", "host-1", journal(removed), *ADMIN))
    assert (there / "a/b/x").read_text() == "y"
    told = done(outrider("file", "rm", "-r", f"host-1:{there}/a", "--yes", *ADMIN)).err
    assert "undo: outrider file undo host-1 " in told
    assert os.listdir(there) == []


def editor(outrider: Shell, script: str) -> None:
    """Have an editor that runs a line of shell with the file as ``$1``."""
    path = outrider.home / "editor"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    outrider.environment["EDITOR"] = str(path)
    outrider.environment.pop("VISUAL", None)


def edit(outrider: Shell, path: Path, *words: str) -> Called:
    return outrider("file", "edit", f"host-1:{path}", "--yes", *words, *ADMIN)


def test_an_edit_shows_its_diff_is_on_record_and_can_be_undone(outrider: Shell, host: Fleet, there: Path) -> None:
    (there / "x").write_text("one\ntwo\n")
    (there / "x").chmod(0o640)
    editor(outrider, 'sed -i s/two/three/ "$1"')
    saved = done(edit(outrider, there / "x", "--json"))
    assert "-two\n+three" in saved.err
    assert (there / "x").read_text() == "one\nthree\n"
    assert stat.S_IMODE((there / "x").stat().st_mode) == 0o640

    def patches() -> list[dict[str, Any]]:
        found = host.records("host-1", call="fs.patch", kind="call")
        return [each for each in found if each["arguments"]["path"] == str(there / "x")]

    patch = host.wait_for("the record", patches)[-1]
    assert "+three" in patch["arguments"]["diff"]
    assert patch["data"]["new_hash"] == hashlib.sha256(b"one\nthree\n").hexdigest()
    assert patch["data"]["journal"] == journal(saved), "who reads the record can take it back"
    played = done(outrider("session", "play", patch["session"], "--format", "text")).out
    assert f"-> sha256:{patch['data']['new_hash']}" in played
    done(outrider("file", "undo", "host-1", journal(saved), *ADMIN))
    assert (there / "x").read_text() == "one\ntwo\n"


def test_a_save_over_somebody_elses_change_shows_it_and_keeps_the_text(outrider: Shell, there: Path) -> None:
    (there / "x").write_text("one\n")
    editor(outrider, f'echo theirs >> {there}/x; echo mine >> "$1"')
    called = done(edit(outrider, there / "x"), 1)
    assert "+theirs" in called.err
    assert "was changed since it was opened" in called.err
    assert (there / "x").read_text() == "one\ntheirs\n"
    assert (outrider.work / "x.outrider-edit").read_text() == "one\nmine\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [(b"\xff\x00\n", b"\xff\x01\n"), (b"no end", b"no end here"), (b"dos\r\n", b"dos\r\nmore\r\n"), (b"x\n", b"")],
)
def test_what_is_edited_is_saved_byte_for_byte(outrider: Shell, there: Path, before: bytes, after: bytes) -> None:
    (there / "x").write_bytes(before)
    octets = base64.b64encode(after).decode()
    editor(outrider, f'echo {octets} | base64 -d > "$1"')
    done(edit(outrider, there / "x"))
    assert (there / "x").read_bytes() == after


def test_an_edit_makes_what_is_not_there(outrider: Shell, there: Path) -> None:
    editor(outrider, 'echo new > "$1"')
    done(edit(outrider, there / "x"))
    assert (there / "x").read_text() == "new\n"


def test_an_edit_that_changes_nothing_or_fails_saves_nothing(outrider: Shell, there: Path) -> None:
    (there / "x").write_text("one\n")
    editor(outrider, "true")
    assert "nothing was changed" in done(edit(outrider, there / "x")).err
    editor(outrider, 'echo half > "$1"; exit 3')
    assert "status 3" in done(edit(outrider, there / "x"), 1).err
    assert (there / "x").read_text() == "one\n"
    assert (outrider.work / "x.outrider-edit").read_text() == "half\n"
    outrider.environment["EDITOR"] = "no-such-editor"
    assert "no-such-editor" in done(edit(outrider, there / "x"), 1).err


# archives ------------------------------------------------------------------------------------------------------------


def planted(there: Path) -> Path:
    folder = there / "site"
    (folder / "css").mkdir(parents=True)
    (folder / "index.html").write_text("<p>hello</p>\n")
    (folder / "css" / "main.css").write_text("p {}\n")
    (folder / "css" / "main.css").chmod(0o640)
    (folder / "cache").mkdir()
    (folder / "cache" / "x").write_text("much")
    return folder


@pytest.mark.parametrize(("name", "opens"), [("site.tar.gz", "r:gz"), ("site.tgz", "r:gz"), ("site.zip", "")])
def test_a_folder_comes_as_an_archive(outrider: Shell, there: Path, name: str, opens: str) -> None:
    folder = planted(there)
    skip = ("--skip", f"{folder}/cache/**", "--skip", f"{folder}/cache")
    called = done(outrider.program("file", "archive", f"host-1:{folder}", *skip, "-o", name, *ADMIN, "--json"))
    assert called.data["file"] == name
    path = outrider.work / name
    if opens:
        with tarfile.open(path, opens) as archive:
            names = {member.name for member in archive.getmembers() if member.isfile()}
    else:
        with zipfile.ZipFile(path) as zipped:
            names = {each for each in zipped.namelist() if not each.endswith("/")}
    assert {each.rpartition("site/")[2] for each in names} == {"index.html", "css/main.css"}


def test_an_archive_becomes_a_folder_of_the_host(outrider: Shell, there: Path) -> None:
    folder = planted(there)
    done(outrider.program("file", "archive", f"host-1:{folder}", "-o", "x.tar.gz", *ADMIN))
    called = done(outrider.program("file", "extract", "x.tar.gz", f"host-1:{there}/new", *ADMIN, "--json"))
    new = there / "new" / str(folder).lstrip("/")
    assert (new / "index.html").read_text() == "<p>hello</p>\n"
    assert (new / "css" / "main.css").stat().st_mode & 0o777 == 0o640
    done(outrider.program("file", "undo", "host-1", called.data["journal"], *ADMIN))
    assert not (there / "new").exists()
    outrider.program("file", "extract", "x.tar.gz", f"host-1:{there}/new", *ADMIN)
    again = done(outrider.program("file", "extract", "x.tar.gz", f"host-1:{there}/new", *ADMIN), 1)
    assert "not empty" in again.err or "there" in again.err


def test_what_is_wrong_with_an_archive_is_said_and_leaves_nothing(outrider: Shell, there: Path) -> None:
    (outrider.work / "none.tar.gz").write_bytes(b"no archive")
    called = outrider.program("file", "extract", "none.tar.gz", f"host-1:{there}/new", *ADMIN)
    assert called.status != 0
    with tarfile.open(outrider.work / "evil.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("../outside"))
    called = outrider.program("file", "extract", "evil.tar", f"host-1:{there}/new", *ADMIN)
    assert called.status != 0
    assert ".." in called.err
    assert not (there / "new").exists()
    for words in (("archive", f"host-1:{there}/nothing", *ADMIN), ("archive", "host-1:/a", "host-2:/b", *ADMIN)):
        assert outrider.program("file", *words).status != 0
    assert outrider.program("file", "extract", "nothing.tar", f"host-1:{there}/new", *ADMIN).status != 0
