"""The interpreter's code in huge pages."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.code_pages import HUGE_BYTES, Mapping, code_around, mappings
from sandbox.launch import Options, Sandbox

FILE = "/usr/bin/python3"
BEFORE = Mapping(0x400000, 0x41F000, "r--p", FILE)
CODE = Mapping(0x41F000, 0x6D2000, "r-xp", FILE)
AFTER = Mapping(0x6D2000, 0x945000, "r--p", FILE)

SCRIPT = """
import json, sys
from sandbox import code_pages
{before}
size = code_pages.join()
with open("/proc/self/maps") as file:
    listed = file.read()
import decimal  # code that has not run before
print(json.dumps([size, listed, str(decimal.Decimal(1) / 3)[:4]]))
"""


def joined(before: str = "") -> tuple[int, list[Mapping]]:
    """Return what a fresh interpreter made of itself."""
    script = SCRIPT.format(before=before)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, timeout=30)
    size, listed, third = json.loads(done.stdout)
    assert third == "0.33"
    return size, mappings(listed)


def test_maps_are_read() -> None:
    """With and without a file, whose name may hold spaces."""
    text = (
        "00400000-0041f000 r--p 00000000 fe:00 260811                             /a file\n"
        "7ff000-800000 rw-p 00000000 00:00 0 \n"
    )
    assert mappings(text) == [
        Mapping(0x400000, 0x41F000, "r--p", "/a file"),
        Mapping(0x7FF000, 0x800000, "rw-p", ""),
    ]


@pytest.mark.parametrize("text", ["x", "00400000 r--p 0 0:0 0", "zz-yy r--p 0 0:0 0 /f"])
def test_what_is_no_list_of_mappings_is_refused(text: str) -> None:
    """It is told, not guessed at."""
    with pytest.raises(ValueError, match=r"."):
        mappings(text)


def test_the_page_that_the_code_begins_in_is_taken_whole() -> None:
    """With what lies before the code in the same file."""
    assert code_around([BEFORE, CODE, AFTER], 0x500000) == CODE._replace(begin=0x400000)


@pytest.mark.parametrize(
    "before",
    [
        None,
        BEFORE._replace(file="/other"),
        BEFORE._replace(rights="rw-p"),
        BEFORE._replace(end=0x41E000),
        BEFORE._replace(begin=0x401000),
    ],
)
def test_nothing_else_is_taken_along(before: Mapping | None) -> None:
    """Then the code has no whole huge page, and is left as it is; a longer one begins where it began."""
    listed = [CODE] if before is None else [before, CODE]
    assert code_around(listed, 0x500000) is None
    longer = CODE._replace(end=0x800000)
    assert code_around([*listed[:-1], longer], 0x500000) == longer


@pytest.mark.parametrize(
    ("code", "inside"),
    [
        (CODE, 0x41EFFF),
        (CODE, 0x6D2000),
        (CODE._replace(rights="rwxp"), 0x500000),
        (CODE._replace(rights="r--p"), 0x500000),
        (CODE._replace(file=""), 0x500000),
        (CODE._replace(file="[vdso]"), 0x500000),
        (CODE._replace(end=0x5FFFFF), 0x500000),
    ],
)
def test_only_code_of_a_file_is_moved(code: Mapping, inside: int) -> None:
    """And of that only what holds the address that was asked for, and fills a page."""
    assert code_around([BEFORE, code], inside) is None


def test_the_code_runs_as_before_and_can_be_written_by_nobody() -> None:
    """It lies where it lay, in memory of no file; nothing can be both written and run, and no copy is left over."""
    size, listed = joined()
    if size == 0:
        pytest.skip("this kernel makes no huge pages on demand, or the interpreter's code has no whole one")
    assert size >= HUGE_BYTES
    moved = [each for each in listed if each.rights == "r-xp" and not each.file]
    assert [each.end - each.begin for each in moved] == [size]
    assert not [each for each in listed if "w" in each.rights and "x" in each.rights]
    assert not [each for each in listed if each.end - each.begin > size and not each.file and each.rights == "rw-p"]


@pytest.mark.parametrize(
    "before",
    [
        "import kernel; kernel.prctl(kernel.PR_SET_MDWE, kernel.PR_MDWE_REFUSE_EXEC_GAIN)",
        "import resource as r; from sandbox.jail.rlimits import address_space_bytes;"
        "r.setrlimit(r.RLIMIT_AS, (address_space_bytes() + code_pages.HUGE_BYTES, r.RLIM_INFINITY))",
        "code_pages._MAPS = '/nowhere'",
    ],
)
def test_where_it_cannot_be_nothing_changes(before: str) -> None:
    """No memory for it, no right to make code, or no /proc: the code stays its file's, and no copy is left."""
    if "MDWE" in before and not _has_mdwe():
        pytest.skip("this kernel has no memory-deny-write-execute")
    size, listed = joined(before)
    assert size == 0
    assert not [each for each in listed if "x" in each.rights and not each.file]
    assert not [each for each in listed if each.end - each.begin > 2 * HUGE_BYTES and not each.file]


def _has_mdwe() -> bool:
    script = "import kernel; kernel.prctl(kernel.PR_SET_MDWE, kernel.PR_MDWE_REFUSE_EXEC_GAIN)"
    return subprocess.run([sys.executable, "-c", script], stderr=subprocess.DEVNULL, check=False).returncode == 0


def test_the_zygote_does_it_or_cannot() -> None:
    """As a fresh interpreter here does, so do all zygotes, and no memory of one can be written and run."""

    async def listed() -> list[Mapping]:
        sandbox = await Sandbox.start(bindings=[], options=Options(spares=0))
        try:
            return mappings(Path(f"/proc/{sandbox.zygote_pid}/maps").read_text(errors="surrogateescape"))
        finally:
            await sandbox.close()

    found = asyncio.run(listed())
    assert bool(joined()[0]) == any(each.rights == "r-xp" and not each.file for each in found)
    assert not [each for each in found if "w" in each.rights and "x" in each.rights]
