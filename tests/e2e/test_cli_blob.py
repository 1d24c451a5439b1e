"""``outrider blob`` with a real server: put, listed, had back whole, in a pipe and after it broke off, removed."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

from shell import DEADLINE_S, ROOT, Shell

DATA = bytes(range(256)) * 40_000  # ten megabytes


def named(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def test_from_put_to_rm(outrider: Shell) -> None:
    (outrider.work / "disk.img").write_bytes(DATA)
    made = outrider("blob", "put", "disk.img")
    assert (made.status, made.out) == (0, named(DATA) + "\n"), made.err
    assert "10,240,000 bytes, kept until" in made.err
    listed = outrider("blob", "ls", "--json").data
    assert [(blob["hash"], blob["size"]) for blob in listed] == [(named(DATA), len(DATA))]
    assert outrider("blob", "ls").rows[0][:3] == [named(DATA), "10240000", "admin:disk.img"]
    got = outrider("blob", "get", named(DATA).removeprefix("sha256:"), "-o", "back.img", "--json")
    assert got.data == {"hash": named(DATA), "size": len(DATA), "file": "back.img"}
    assert (outrider.work / "back.img").read_bytes() == DATA
    assert sorted(path.name for path in outrider.work.iterdir()) == ["back.img", "disk.img"]
    piped = subprocess.run(
        [sys.executable, "-m", "cli", "blob", "get", named(DATA)], capture_output=True, timeout=DEADLINE_S,
        cwd=outrider.work, env={**outrider.environment, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert piped.stdout == DATA, piped.stderr
    assert outrider("blob", "rm", named(DATA), "--yes").status == 0
    assert outrider("blob", "rm", named(DATA), "--yes").status == 1
    assert outrider("blob", "ls").err == "no blobs\n"


def test_what_broke_off_goes_on_and_what_is_damaged_is_no_file(outrider: Shell) -> None:
    (outrider.work / "a").write_bytes(DATA)
    outrider("blob", "put", "a")
    part = outrider.work / f".b.{named(DATA)[7:23]}.part"
    part.write_bytes(DATA[:9_000_000])
    assert outrider("blob", "get", named(DATA), "-o", "b").status == 0
    assert (outrider.work / "b").read_bytes() == DATA
    part.write_bytes(b"damaged")
    wrong = outrider("blob", "get", named(DATA), "-o", "b")
    assert wrong.status == 3
    assert "does not have the hash that was asked for" in wrong.err
    assert not part.exists()
    assert outrider("blob", "get", named(DATA), "-o", "b").status == 0
    outrider("blob", "rm", named(DATA), "--yes")


def test_bad_input_is_said(outrider: Shell) -> None:
    for words, status, told in [
        (("get", "nothing", "-o", "x"), 2, "HASH: must be 64 lower-case hexadecimal digits"),
        (("get", "0" * 64, "-o", "x"), 1, "there is no blob sha256:000"),
        (("put", "nothing"), 2, "nothing: cannot be read: No such file or directory"),
        (("put", "."), 2, ".: cannot be read: Is a directory"),
        (("rm", "0" * 64), 2, "use --yes"),
        (("get", "0" * 64, "-o", str(Path("no", "such", "place"))), 1, "cannot be written"),
    ]:
        made = outrider("blob", *words)
        assert (made.status, made.out) == (status, ""), (words, made.err)
        assert told in made.err, (words, made.err)
