"""Text of others before a terminal: nothing that it obeys is left, and nothing is lost in JSON."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.plain_text import one_line, safe, safe_json

ALL = "".join(chr(each) for each in range(sys.maxunicode + 1) if not 0xD800 <= each < 0xE000)
ATTACK = "\x1b]0;title\x07\x1b[2J\x9b31m\x9d0;title\x9c\u202egpj.exe\u2066\u2028[paused by mo]\r\x7f\x08"


def test_all_controls_and_all_that_turns_text_around_is_gone() -> None:
    """By what Unicode says of each character, and not by a list that is written like the other."""
    turning = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    for shown in (safe(ALL), one_line(ALL)):
        kept = {each for each in shown if unicodedata.category(each) in ("Cc", "Zl", "Zp")}
        assert kept <= {"\t", "\n"}
        assert not {each for each in shown if unicodedata.bidirectional(each) in turning}
    assert "\n" not in one_line(ALL)
    letters = {each for each in ALL if unicodedata.category(each)[0] in "LMNPS"}
    assert letters <= set(safe(ALL)), "what people write stays as it is"


@given(st.text() | st.sampled_from([ATTACK]))
def test_json_means_the_same_and_is_obeyed_by_nobody(text: str) -> None:
    written = safe_json(json.dumps({"name": text}, ensure_ascii=False))
    assert json.loads(written) == {"name": text}
    assert safe(written) == written
    assert "\n" not in written


@pytest.mark.parametrize("text", ["grün", "日本語", "نص", "a\tb", "👩‍🔬"])
def test_what_people_write_stays_as_it_is(text: str) -> None:
    assert safe(text) == one_line(text) == text
    assert safe_json(json.dumps(text, ensure_ascii=False)) == json.dumps(text, ensure_ascii=False)
