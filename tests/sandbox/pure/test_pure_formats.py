"""Formats that people and programs write: read strictly, with the place of what is wrong, and bounded."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st
from pure_calls import call, refused, tried

from sandbox.pure.declared import MAX_DEPTH
from sandbox.runtimes import CallError

INTEGERS = st.integers(-(1 << 63), (1 << 63) - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
PLAIN = st.recursive(
    st.none() | st.booleans() | INTEGERS | FLOATS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


def same(one: Any, other: Any) -> bool:
    """Equal, and of equal types: 1 is not 1.0 and not true."""
    return repr(one) == repr(other)


# json


def test_json_is_compact_sorted_and_reversible() -> None:
    """Equal values give equal texts, which makes them comparable."""
    value = {"b": [1, 2.5, None, True], "a": {"é": "\n"}}
    text = call("json.encode", value)
    assert text == '{"a":{"é":"\\n"},"b":[1,2.5,null,true]}'
    assert call("json.decode", text) == value
    assert call("json.encode", {"a": [1]}, 2) == '{\n  "a": [\n    1\n  ]\n}'


@given(PLAIN)
def test_json_round_trip(value: Any) -> None:
    text = call("json.encode", value)
    assert json.loads(text) == value
    assert call("json.encode", call("json.decode", text)) == text


@pytest.mark.parametrize("value", [b"\xff", [float("nan")], {"a": float("inf")}])
def test_what_json_cannot_hold_is_refused(value: Any) -> None:
    """Rather than written as something else."""
    refused("json.encode", value, words="value: holds", parameter="value")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "line 1 column 2"),
        ("[1,\n2 3]", "line 2 column 3"),
        ("", "line 1 column 1"),
        ("NaN", "NaN is not JSON"),
        ("[-Infinity]", "-Infinity is not JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("9" * 5000, "cannot be held"),
        ("-" + "9" * 400, "cannot be held"),
        ("[1e999]", "cannot be held"),
        (b"\xff", "must be text in UTF-8"),
        (5, "must be text"),
    ],
)
def test_bad_json_is_refused_with_its_place(text: Any, words: str) -> None:
    refused("json.decode", text, words=words)


def test_json_numbers_are_those_that_both_languages_hold() -> None:
    ends = [(1 << 63) - 1, -(1 << 63)]
    assert same(call("json.decode", str(ends)), ends)
    assert same(
        call("json.decode", "[9223372036854775808, 12345678901234567890]"), [float(1 << 63), 12345678901234567890.0]
    )


# yaml


@given(PLAIN)
def test_yaml_round_trip(value: Any) -> None:
    text = call("yaml.encode", value)
    assert same(call("yaml.decode", text), _sorted(value)), text


@given(PLAIN)
def test_what_yaml_writes_other_readers_understand(value: Any) -> None:
    """PyYAML reads YAML 1.1; what it takes for something else is quoted."""
    assert yaml.safe_load(call("yaml.encode", value)) == value


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("", None),
        ("# nothing", None),
        ("~", None),
        ("null", None),
        ("true", True),
        ("False", False),
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("12", 12),
        ("-7", -7),
        ("+3", 3),
        ("012", 12),
        ("0o17", 15),
        ("0x1F", 31),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("2024-01-31", "2024-01-31"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("! 12", "12"),
        ("|\n a\n b\n", "a\nb\n"),
        (">\n a\n b\n", "a b\n"),
        ("[a, {b: c}]", ["a", {"b": "c"}]),
        ("1: x\ntrue: y\n? z\n", {"1": "x", "true": "y", "z": None}),
        ("a: &n {x: 1}\nb: *n", {"a": {"x": 1}, "b": {"x": 1}}),
        ("a: &n {x: 1, y: 2}\nb: {<<: *n, y: 3}", {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}}),
        ("- &a {x: 1}\n- &b {x: 2, z: 3}\n- {<<: [*a, *b]}", [{"x": 1}, {"x": 2, "z": 3}, {"x": 1, "z": 3}]),
        ("a: '<<'\n'<<': b", {"a": "<<", "<<": "b"}),
        ("%YAML 1.2\n---\na: b\n...\n", {"a": "b"}),
    ],
)
def test_yaml_is_read_by_the_core_schema(written: str, value: Any) -> None:
    assert same(call("yaml.decode", written), value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: b: c", "line 1 column 5"),
        ("a: 1\na: 2", "line 2 column 1: the key 'a' stands twice"),
        ("[a", "line 2 column 1"),
        ("--- 1\n--- 2", "a second document"),
        (
            "!!python/object/apply:os.system [id]",
            "the tag 'tag:yaml.org,2002:python/object/apply:os.system' is not read",
        ),
        ("!!str 1", "the tag"),
        ("a: !x {}", "line 1 column 4: the tag '!x' is not read"),
        ("!!binary aGk=", "the tag"),
        (".inf", "finite"),
        ("-.INF", "finite"),
        (".nan", "finite"),
        ("1e999", "finite"),
        ("9223372036854775808", "64 bits"),
        ("-" + "9" * 40, "64 bits"),
        ("0x" + "f" * 17, "64 bits"),
        ("? [a]\n: b", "a key must be text"),
        ("? {a: b}\n: c", "a key must be text"),
        ("&a [1]: 2", "a key must be text"),
        ("*a", "has no anchor before it"),
        ("&a [*a]", "stands within what it is an alias of"),
        ("<<: 1", "merge key"),
        ("<<: [1]", "merge key"),
        ("a\0b", "control characters"),
        ("\ta: b", "line 1 column 1"),
        ("[" * 5000, "nested more than"),
        ("- " * 5000, "nested more than"),
        ("{a: " * 5000, "nested more than"),
    ],
)
def test_bad_yaml_is_refused_with_its_place(text: str, words: str) -> None:
    refused("yaml.decode", text, words=words)


def laughs(levels: int) -> str:
    """A document of a few lines in which each level holds the one before it ten times."""
    lines = ["a0: &a0 [x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, levels)]
    return "\n".join(lines)


def test_aliases_that_multiply_are_refused_on_the_way() -> None:
    """The billion laughs: ten lines for ten thousand million values."""
    assert len(call("yaml.decode", laughs(3))["a2"]) == 10
    refused("yaml.decode", laughs(11), words="with those of its aliases", code="too_large")
    long = f"a: &a {'x' * 100_000}\nb: [{', '.join(['*a'] * 1000)}]"
    refused("yaml.decode", long, words="with those of its aliases", code="too_large")
    merged = "- &a {" + ", ".join(f"k{n}: 1" for n in range(1000)) + "}\n" + "- {<<: *a}\n" * 200
    refused("yaml.decode", merged, words="with those of its aliases", code="too_large")
    deep = "\n".join([f"a0: &a0 {'[' * 40}{']' * 40}", f"a1: {'[' * 30}*a0{']' * 30}"])
    refused("yaml.decode", deep, words="nested more than")


def test_copies_of_an_anchor_are_separate() -> None:
    """A script that changes one must not change the other."""
    value = call("yaml.decode", "a: &n [1]\nb: *n")
    value["a"].append(2)
    assert value["b"] == [1]


def test_yaml_has_no_bytes() -> None:
    refused("yaml.encode", [b"\xff"], words="bytes that are not valid UTF-8", parameter="value")


# toml


def test_toml() -> None:
    text = 'title = "x"\nat = 1979-05-27T07:32:00Z\nday = 1979-05-27\n[a.b]\nc = [1, 2.5, true]\n[[d]]\ne = 1\n[[d]]\n'
    assert call("toml.decode", text) == {
        "title": "x",
        "at": "1979-05-27T07:32:00+00:00",
        "day": "1979-05-27",
        "a": {"b": {"c": [1, 2.5, True]}},
        "d": [{"e": 1}, {}],
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = 1\nb 2", "line 2 column 3: "),
        ("a =", "end of document"),
        ("a = 1\na = 2", "Cannot overwrite"),
        ("a = inf", "not finite"),
        ("a = nan", "not finite"),
        ("a = 1e999", "not finite"),
        ("a = 9223372036854775808", "64 bits"),
        ("a = " + "9" * 5000, "cannot be held"),
        ("a = 2024-13-01", "line 1"),
        ("a = " + "[" * 100_000, "nested too deeply"),
        ("a = " + "{a=" * 100_000, "nested too deeply"),
        ("[" + "a." * 200_000 + "a]", "key of more than"),
        ("a" + ".a" * 200_000 + " = 1", "key of more than"),
        ("x = {" + "'a' . " * 1000 + "a = 1}", "key of more than"),
        ("a = 'b\nc'", "line 1"),
        ("\ufeffa = 1", "line 1"),
    ],
)
def test_bad_toml_is_refused_with_its_place(text: str, words: str) -> None:
    refused("toml.decode", text, words=words)


def test_toml_is_bounded() -> None:
    refused("toml.decode", "#" * ((1 << 20) + 1), words="1048576 characters", code="too_large")


@given(st.text(st.sampled_from("ab.='\"[]{}\n 1,#"), max_size=40))
def test_toml_reads_what_the_library_reads(text: str) -> None:
    """The look at long keys refuses nothing that is none."""
    try:
        expected = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        refused("toml.decode", text, words="")
    else:
        assert call("toml.decode", text) == expected


# ini

INI = "loose = 1\n[Server]\n; comment\nHost: a = b\nflag\nlong = one\n  two\n\n[empty]\n"


def test_ini() -> None:
    assert call("ini.decode", INI) == {
        "": {"loose": "1"},
        "Server": {"Host": "a = b", "flag": "", "long": "one\ntwo"},
        "empty": {},
    }
    assert call("ini.decode", "\ufeff[a]\r\nb = 1\r\n") == {"a": {"b": "1"}}


def test_ini_says_what_becomes_of_a_key_that_stands_twice() -> None:
    unit = "[Service]\nExecStart=a\nExecStart=b\nUser=c\n[Service]\nGroup=d\n"
    assert call("ini.decode", unit, "list") == {"Service": {"ExecStart": ["a", "b"], "User": "c", "Group": "d"}}
    assert call("ini.decode", unit, "last")["Service"]["ExecStart"] == "b"
    refused("ini.decode", unit, words="line 3: the key 'ExecStart' stands twice in its section")
    refused("ini.decode", "[a]\n[b]\n[a]", words="line 3: the section 'a' stands twice")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[a", "line 1: '[a' is no [section]"),
        ("\n[]", "line 2"),
        ("= 1", "line 1: has no key"),
        ("  x", "line 1: is indented"),
    ],
)
def test_bad_ini_is_refused_with_its_line(text: str, words: str) -> None:
    refused("ini.decode", text, words=words)


KEYS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"], exclude_characters="[]#;=:"), min_size=1, max_size=9)
VALUES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=20).map(str.strip)


@given(st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=4), max_size=4))
def test_ini_round_trip(sections: dict[str, dict[str, str]]) -> None:
    assert call("ini.decode", call("ini.encode", sections)) == sections


@example({"": {"0": "0 \n0"}})
@given(st.dictionaries(TEXTS, st.dictionaries(TEXTS, TEXTS, max_size=2), max_size=2))
def test_ini_writes_what_it_reads_again_or_nothing(sections: dict[str, dict[str, str]]) -> None:
    """A value cannot smuggle a section in."""
    text = tried("ini.encode", sections)
    if not isinstance(text, CallError):
        assert call("ini.decode", text) == {name: keys for name, keys in sections.items() if name or keys}


def test_ini_values() -> None:
    sections = {"": {"t": True}, "a": {"n": 1.5, "l": ["x", 2], "m": "one\ntwo"}, "b": []}
    assert call("ini.encode", sections) == "t = true\n\n[a]\nl = x\nl = 2\nm = one\n    two\nn = 1.5\n\n[b]\n"
    for wrong in (
        {"a": 1},
        {"a": {"b": {}}},
        {"a": {"b": "x\n[c]"[::-1] + "\n"}},
        {"a": {"b": b"\xff"}},
        {"a": {"b": None}},
    ):
        refused("ini.encode", wrong, words="", parameter="sections")


def test_a_hostile_line_takes_no_more_than_its_length() -> None:
    """The library's matcher would need the square of it."""
    line = "a" + " " * 1_000_000 + "b"
    assert call("ini.decode", line) == {"": {line: ""}}


# csv

CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)


@given(st.lists(st.lists(CELLS, min_size=1, max_size=4), max_size=5), st.sampled_from(",;\t|"))
def test_csv_round_trip(rows: list[list[str]], delimiter: str) -> None:
    text = call("csv.encode", rows, [], delimiter)
    assert call("csv.decode", text, delimiter) == rows


def test_csv_maps() -> None:
    rows = [{"b": 1, "a": None}, {"b": 'x,"y'}]
    text = call("csv.encode", rows)
    assert text == 'a,b\n,1\n,"x,""y"\n'
    assert call("csv.decode", text, {"header": True}) == [{"a": "", "b": "1"}, {"a": "", "b": 'x,"y'}]
    assert call("csv.encode", [{"a": True, "b": 2.5}], ["b", "a"]) == "b,a\n2.5,true\n"
    assert call("csv.encode", [], ["a"]) == "a\n"
    assert call("csv.decode", "", {"header": True}) == []


@pytest.mark.parametrize(
    ("args", "words", "parameter"),
    [
        (['a,"b'], "line 1: unexpected end of data", "text"),
        (['a\n"b"c\n'], "line 2: ", "text"),
        (["a,a\n1,2", ",", True], "line 1: the name 'a' stands twice", "text"),
        (["a,b\n1\n", ",", True], "line 2: has 1 values for 2 names", "text"),
        (["x" * 200_000], "field larger than field limit", "text"),
        (["a", ""], "one character", "delimiter"),
        (["a", '"'], "one character", "delimiter"),
        (["a", "\n"], "one character", "delimiter"),
    ],
)
def test_bad_csv_is_refused_with_its_line(args: list[Any], words: str, parameter: str) -> None:
    refused("csv.decode", *args, words=words, parameter=parameter)


@pytest.mark.parametrize(
    ("rows", "columns", "words"),
    [
        ([[1], {"a": 1}], [], "all lists or all maps"),
        (["ab"], [], "all lists or all maps"),
        ([[{}]], [], "row 1: a value must be text"),
        ([["x", b"\xff"]], [], "row 1: a value must be text"),
        ([{"a": 1}], ["b"], "row 1: 'a' is none of the columns"),
    ],
)
def test_rows_that_are_no_csv_are_refused(rows: Any, columns: list[str], words: str) -> None:
    refused("csv.encode", rows, columns, words=words, parameter="rows")


def test_long_names_do_not_multiply() -> None:
    refused("csv.decode", "n" * 100_000 + "\n" + "x\n" * 1000, ",", True, words="would not fit", code="too_large")


# xml


def test_xml() -> None:
    text = '<?xml version="1.0" encoding="latin-1"?><!-- c --><a b="1&amp;2"> x<n:c/>y <c>é &#65;<![CDATA[<&]]></c></a>'
    leaf = {"attributes": {}, "children": []}
    assert call("xml.decode", text) == {
        "tag": "a",
        "attributes": {"b": "1&2"},
        "text": "xy",
        "children": [{"tag": "n:c", "text": "", **leaf}, {"tag": "c", "text": "é A<&", **leaf}],
    }


LAUGHS = "<!DOCTYPE l [<!ENTITY a 'ha'>" + "".join(
    f"<!ENTITY {chr(98 + n)} '{f'&{chr(97 + n)};' * 10}'>" for n in range(9)
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LAUGHS + "]><l>&j;</l>", "line 1 column 13: a document type (DTD) is not read"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>', "DTD"),
        ('<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', "DTD"),
        ('<!DOCTYPE a [<!ENTITY % x SYSTEM "http://127.0.0.1/"> %x;]><a/>', "DTD"),
        ("<a>&x;</a>", "line 1 column 4: undefined entity"),
        ("<a>\n</b>", "line 2 column 3: mismatched tag"),
        ("<a b='1' b='2'/>", "duplicate attribute"),
        ("", "no element found"),
        ("<a/><b/>", "junk after document element"),
        ("<a>\0</a>", "line 1"),
        ("<a>\ufffe</a>", "line 1"),
        ("<a>" * 30, "nested more than 29 deep"),
        ("<a>" + "<b/>" * 50_000 + "</a>", "more than 50000 elements"),
    ],
)
def test_bad_xml_is_refused_with_its_place(text: str, words: str) -> None:
    refused("xml.decode", text, words=words)


def test_xml_of_the_deepest_kind_can_be_written_as_json() -> None:
    text = "<a>" * 29 + "</a>" * 29
    assert call("json.encode", call("xml.decode", text)).count('"tag"') == 29
    assert MAX_DEPTH >= 29 * 2
