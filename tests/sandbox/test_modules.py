"""What ``require`` finds, and that a bundle names only what is its own or what its own manifest pins."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.errors import ProtocolError
from sandbox.modules import NONE, PROGRAM, Finder, Libraries, Library, modules
from sandbox.runtimes import MAX_SOURCE_BYTES, CallError

FILES = {"main.lua": b"main", "util.lua": b"util", "deep/er.lua": b"deeper", "data.txt": b"data"}
RATES = Library("lib/rates", "init.lua", {"init.lua": b"rates", "util.lua": b"util of rates"}, {"lib/base": "d-old"})
LIBRARIES = Libraries(
    {"lib/rates": "d-rates", "lib/base": "d-new", "checks/other": "d-script"},
    {
        "d-rates": RATES,
        "d-old": Library("lib/base", "init.lua", {"init.lua": b"old base"}),
        "d-new": Library("lib/base", "init.lua", {"init.lua": b"new base"}),
    },
)


def finder(language: str = "lua", files: dict[str, bytes] | None = None) -> Finder:
    return Finder(language, files or FILES, LIBRARIES)


@pytest.mark.parametrize(
    ("unit", "name", "source", "shown"),
    [
        (PROGRAM, "util", b"util", "util.lua"),
        (PROGRAM, "util.lua", b"util", "util.lua"),
        (PROGRAM, "deep/er", b"deeper", "deep/er.lua"),
        (PROGRAM, "deep.er", b"deeper", "deep/er.lua"),
        (PROGRAM, "lib/rates", b"rates", "lib/rates/init.lua"),
        (PROGRAM, "lib/base", b"new base", "lib/base/init.lua"),
        ("d-rates", "util", b"util of rates", "lib/rates/util.lua"),
        ("d-rates", "lib/base", b"old base", "lib/base/init.lua"),
    ],
)
def test_a_name_means_what_it_means_where_it_is_asked_for(unit: str, name: str, source: bytes, shown: str) -> None:
    found = finder().find(unit, name)
    assert (found.source, found.shown) == (source, shown)


@pytest.mark.parametrize(
    ("unit", "name"),
    [
        (PROGRAM, "nothing"), (PROGRAM, "data.txt"), (PROGRAM, "../main"), (PROGRAM, "/etc/passwd"), (PROGRAM, "d-old"),
        (PROGRAM, "lib/rates/util"), ("d-rates", "main"), ("d-rates", "deep/er"), ("d-rates", "lib/rates"),
        ("d-new", "lib/rates"),
    ],
)  # fmt: skip
def test_nothing_else_is_found(unit: str, name: str) -> None:
    with pytest.raises(CallError) as caught:
        finder().find(unit, name)
    assert caught.value.code == "not_found"
    assert "pinned:" in caught.value.message


@pytest.mark.parametrize("name", ["", "x" * 201, None, 5, b"util", ["util"]])
def test_a_name_is_a_name(name: Any) -> None:
    with pytest.raises(CallError) as caught:
        finder().find(PROGRAM, name)
    assert caught.value.fields == {"parameter": "name"}


def test_what_is_pinned_and_no_library_says_how_it_is_used() -> None:
    with pytest.raises(CallError, match=r"script\.call"):
        finder().find(PROGRAM, "checks/other")


def test_a_library_hides_a_file_of_the_same_name() -> None:
    """The manifest is what was reviewed as the list of what comes from outside."""
    found = finder(files={"lib/rates.lua": b"own"}).find(PROGRAM, "lib/rates")
    assert found.source == b"rates"


def test_all_that_a_program_may_run_is_told_once_in_a_fixed_order() -> None:
    """Each is what the finder finds under its unit and path; what cannot be required is left out."""
    program = {"main.lua": b"main", "b.lua": b"b", "a.lua": b"a", "notes.txt": b"n", "a.py": b"p"}
    found = list(modules("lua", "main.lua", program, LIBRARIES))
    assert [(one.unit, one.path) for one in found] == [
        (PROGRAM, "main.lua"), (PROGRAM, "a.lua"), (PROGRAM, "b.lua"),
        *((digest, path) for digest in sorted(LIBRARIES.held) for path in sorted(LIBRARIES.held[digest].files)),
    ]  # fmt: skip
    finds = Finder("lua", program, LIBRARIES)
    assert finds.find(PROGRAM, "a") == found[1]
    assert {finds.find(PROGRAM, "lib/rates"), finds.find("d-rates", "util")} <= set(found)
    assert list(modules("lua", "gone.lua", {}, NONE)) == []


def test_a_file_that_is_too_large_is_said() -> None:
    with pytest.raises(CallError) as caught:
        finder(files={"big.lua": bytes(MAX_SOURCE_BYTES + 1)}).find(PROGRAM, "big")
    assert caught.value.code == "too_large"


def test_python_has_its_own_files() -> None:
    files = {"util.py": b"python", "util.lua": b"lua"}
    assert finder("python", files).find(PROGRAM, "util").source == b"python"
    assert finder("luajit", files).find(PROGRAM, "util").source == b"lua"


def test_libraries_cross_as_plain_values() -> None:
    assert Libraries.from_plain(LIBRARIES.to_plain()) == LIBRARIES
    assert LIBRARIES.size_bytes == len(b"rates" + b"util of rates" + b"old base" + b"new base")


@pytest.mark.parametrize("plain", [None, [], [{}], [{}, {"d": 5}], [{}, {"d": [1]}], 5])
def test_nonsense_is_refused(plain: Any) -> None:
    with pytest.raises(ProtocolError):
        Libraries.from_plain(plain)
