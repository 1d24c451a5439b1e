"""A script read together with its libraries: every file is read, and none stands for another."""

from __future__ import annotations

from sandbox.analysis import Pinned, analyse, joined
from stdlib.catalogue import load

TABLES = load().tables()
DIGEST = "sha256:" + "ab" * 32


def calls(language: str, files: dict[str, bytes], *pinned: Pinned) -> dict[str, tuple[str, ...]]:
    main = "main.py" if language == "python" else "main.lua"
    found = analyse(language, joined(language, files, pinned), main, TABLES)
    return {name: called.places for name, called in found.calls.items() if name != "require"}


def test_what_a_library_leaves_to_the_script_is_found() -> None:
    """Read alone, ``files`` would be no family and the script would call nothing."""
    library = Pinned("lib/files", DIGEST, "main.lua", {"main.lua": b"files = fs"})
    found = calls("lua", {"main.lua": b"require('lib/files')\nreturn files.read('/etc/shadow')"}, library)
    assert found == {"fs.read": ("main.lua:2",)}


def test_the_calls_of_a_library_are_told_with_its_name() -> None:
    library = Pinned("lib/up", DIGEST, "main.lua", {"main.lua": b"return sys.uptime()", "notes.txt": b"proc.list("})
    assert calls("lua", {"main.lua": b"return require('lib/up')"}, library) == {
        "sys.uptime": ("lib/up@abababab/main.lua:1",)
    }


def test_the_main_file_of_a_library_is_read_whatever_its_suffix() -> None:
    library = Pinned("lib/up", DIGEST, "up", {"up": b"return sys.uptime()"})
    assert "sys.uptime" in calls("luajit", {"main.lua": b"return require('lib/up')"}, library)
    library = Pinned("lib/up", DIGEST, "up", {"up": b"sys.uptime()"})
    assert "sys.uptime" in calls("python", {"main.py": b"require('lib/up')"}, library)


def test_a_file_of_the_script_cannot_stand_for_one_of_a_library() -> None:
    """An author who knows the digest of a library could hide what it does, or what his own file does."""
    own = {"main.lua": b"require('lib/up')", "lib/up@abababab/main.lua": b"proc.list()"}
    twin = Pinned("lib/up", DIGEST[:-1] + "c", "main.lua", {"main.lua": b"fs.stat('/')"})
    library = Pinned("lib/up", DIGEST, "main.lua", {"main.lua": b"sys.uptime()"})
    assert set(calls("lua", own, library, twin)) == {"proc.list", "sys.uptime", "fs.stat"}
