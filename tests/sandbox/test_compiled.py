"""What is kept of compiled code, and for whom."""

from __future__ import annotations

import pytest

from sandbox import compiled
from sandbox.channel import MAX_CODE_BYTES, MAX_CODES_BYTES
from sandbox.compiled import Compiled, Part, Text

TEXT = Text("main.py", b"result = 1")


def test_code_is_found_by_the_very_text() -> None:
    """Another script never gets it, however alike it is."""
    kept = Compiled()
    kept.keep(TEXT, b"code")
    assert kept.find(Text("main.py", b"result = 1")) == b"code"
    for other in (Text("other.py", TEXT.source), Text("main.py", b"result = 2"), Text("main.py", b"result = 1\n")):
        assert kept.find(other) is None


def test_what_collides_by_its_hash_is_still_told_apart() -> None:
    """Whoever finds two such texts has found nothing."""

    class Alike(bytes):
        def __hash__(self) -> int:
            return hash(TEXT.source)

        __eq__ = bytes.__eq__

    other = Text("main.py", Alike(b"result = 2"))
    assert hash(other) == hash(TEXT)
    kept = Compiled()
    kept.keep(TEXT, b"code")
    assert kept.find(other) is None


def test_a_program_gets_what_is_kept_of_its_files_by_where_they_are() -> None:
    """Two versions of a library have the same names, and each its own code."""
    kept = Compiled()
    old, new = Text("lib/base/main.py", b"old"), Text("lib/base/main.py", b"new")
    for text in (TEXT, old, new):
        kept.keep(text, b"code of " + text.source)
    parts = [
        Part("", "main.py", TEXT),
        Part("d-old", "main.py", old),
        Part("d-new", "main.py", new),
        Part("d-new", "more.py", Text("lib/base/more.py", b"not kept")),
    ]
    assert kept.codes(parts) == {
        "": {"main.py": b"code of result = 1"},
        "d-old": {"main.py": b"code of old"},
        "d-new": {"main.py": b"code of new"},
    }
    assert kept.codes([]) == {}
    assert [kept.has(part.text) for part in parts] == [True, True, True, False]


def test_a_program_brings_no_more_code_than_its_first_frame_holds() -> None:
    """What is left out is compiled by the worker; the program runs all the same."""
    kept = Compiled()
    parts = [Part("", f"{n}.py", Text(f"{n}.py", b"%d" % n)) for n in range(4)]
    for part in parts[:3]:
        kept.keep(part.text, bytes(MAX_CODE_BYTES - 10))
    kept.keep(parts[3].text, bytes(20))
    found = kept.codes(parts)
    assert list(found[""]) == ["0.py", "1.py", "3.py"]
    assert sum(map(len, found[""].values())) <= MAX_CODES_BYTES


def test_a_text_is_due_at_its_second_run_and_never_again() -> None:
    """What runs once is not compiled twice; what cannot be compiled is not tried for ever."""
    kept = Compiled()
    assert [kept.is_due(TEXT) for _ in range(5)] == [False, True, False, False, False]


def test_what_is_kept_already_is_not_due() -> None:
    """Two runs at the same time ask once."""
    kept = Compiled()
    kept.keep(TEXT, b"code")
    assert [kept.is_due(TEXT) for _ in range(3)] == [False, False, False]


def test_what_is_forgotten_is_gone_and_leaves_its_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """And is not compiled apart again: it may be what broke the worker that had it."""
    monkeypatch.setattr(compiled, "MAX_BYTES", len(TEXT.source) + 4)
    kept = Compiled()
    assert not kept.is_due(TEXT)
    assert kept.is_due(TEXT)
    kept.keep(TEXT, b"code")
    kept.forget(TEXT)
    kept.forget(TEXT)
    assert kept.find(TEXT) is None
    assert not kept.is_due(TEXT)
    other = Text("main.py", b"result = 2")
    kept.keep(other, b"code")
    assert kept.find(other) == b"code"


def test_what_is_kept_is_bounded_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not used for longest goes."""
    monkeypatch.setattr(compiled, "MAX_TEXTS", 3)
    kept = Compiled()
    texts = [Text("main.py", b"result = %d" % number) for number in range(4)]
    for text in texts[:3]:
        kept.keep(text, b"code")
    assert kept.find(texts[0]) == b"code"
    kept.keep(texts[3], b"code")
    assert [kept.find(text) is not None for text in texts] == [True, False, True, True]


def test_what_is_kept_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts and code together, however many there are."""
    monkeypatch.setattr(compiled, "MAX_BYTES", 1000)
    kept = Compiled()
    texts = [Text("main.py", b"#" * 90 + b"%02d" % number) for number in range(50)]
    for text in texts:
        kept.keep(text, bytes(100))
    held = [text for text in texts if kept.find(text) is not None]
    assert held == texts[-5:]
    assert kept._size_bytes == sum(len(text.source) + 100 for text in held)
    kept.keep(Text("main.py", bytes(950)), bytes(100))  # larger than all that may be kept
    assert all(kept.find(text) is not None for text in held)


def test_large_code_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """One text must not drive out all others."""
    monkeypatch.setattr(compiled, "MAX_CODE_BYTES", 100)
    kept = Compiled()
    kept.keep(TEXT, bytes(101))
    assert kept.find(TEXT) is None


def test_what_is_remembered_of_texts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if no text ever comes back."""
    monkeypatch.setattr(compiled, "MAX_SEEN", 10)
    kept = Compiled()
    for number in range(100):
        kept.is_due(Text("main.py", b"result = %d" % number))
    assert len(kept._seen) == 10
