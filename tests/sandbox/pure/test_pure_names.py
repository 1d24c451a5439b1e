"""Versions, addresses, URLs and paths."""

from __future__ import annotations

import posixpath
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pure_calls import call, refused, tried

from sandbox.runtimes import CallError

# semver

#: semver.org, section 11, and the test expressions of its regular expression.
ORDERED = [
    "0.0.4",
    "0.9.0",
    "1.0.0-0A.is.legal",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "1.2.3----RC-SNAPSHOT.12.9.1--.12",
    "1.2.3",
    "2.0.0",
    "2.1.0",
    "2.1.1",
    "10.20.30",
    "99999999999999999999999.999999999999999999.99999999999999999",
]
INVALID = [
    "1",
    "1.2",
    "1.2.3-0123",
    "1.2.3-0123.0123",
    "1.1.2+.123",
    "+invalid",
    "-invalid",
    "-invalid+invalid",
    "alpha",
    "alpha.beta",
    "1.0.0-alpha_beta",
    "",
    "",
    "",
    "1.0.0-alpha..",
    "1.0.0-alpha..1",
    "01.1.1",
    "1.01.1",
    "1.1.01",
    "1.2.3.DEV",
    "1.2-SNAPSHOT",
    "1.0.0+a+b",
    "-1.0.3-gamma+b7718",
    "٣.0.0",
    "1.0.0\n\n",
    "",
    "",
    "",
    "1.0.0+",
]


def test_versions_are_ordered_as_the_standard_says() -> None:
    for older, newer in pairwise(ORDERED):
        assert call("semver.compare", older, newer) == -1, (older, newer)
        assert call("semver.compare", newer, older) == 1
        assert call("semver.compare", older, older) == 0
    assert call("semver.compare", "1.0.0+a", "1.0.0+b") == 0


@pytest.mark.parametrize("text", [item for item in INVALID if item.strip()])
def test_what_is_no_version_is_refused(text: str) -> None:
    assert call("semver.valid", text) is False
    refused("semver.parse", text, words="is no semantic version", parameter="version")


def test_parts_of_a_version() -> None:
    parts = {"major": 1, "minor": 2, "patch": 3, "prerelease": "rc.1", "build": "exp.sha-5114f85"}
    assert call("semver.parse", "1.2.3-rc.1+exp.sha-5114f85") == parts
    assert call("semver.parse", "1.2.3")["prerelease"] == ""
    refused("semver.parse", "9223372036854775808.0.0", words="64 bits", parameter="version")
    refused("semver.parse", "1.0.0-" + "a" * 300, words="256 characters", parameter="version", code="too_large")


@pytest.mark.parametrize(
    ("version", "conditions", "is_met"),
    [
        ("1.5.0", ">=1.2.0 <2.0.0", True),
        ("2.0.0", ">=1.2.0 <2.0.0", False),
        ("1.2.0", "=1.2.0", True),
        ("1.2.0", "1.2.0", True),
        ("1.2.0", "<=1.2.0", True),
        ("1.2.0", ">1.2.0", False),
        ("2.0.0-rc.1", "<2.0.0", True),
    ],
)
def test_conditions(version: str, conditions: str, is_met: bool) -> None:
    assert call("semver.satisfies", version, conditions) is is_met


@pytest.mark.parametrize(
    "conditions", ["", " ", "<", ">=1", "^1.0.0", "~1.0.0", "1.0.0 || 2.0.0", ">2.0.0 nonsense", "=1.0.0 " * 33]
)
def test_conditions_that_mean_nothing_are_refused(conditions: str) -> None:
    refused("semver.satisfies", "1.0.0", conditions, words="", parameter="conditions")


# cidr


def test_networks() -> None:
    assert call("cidr.parse", "10.0.0.0/8") == {
        "network": "10.0.0.0/8",
        "version": 4,
        "prefix": 8,
        "first": "10.0.0.0",
        "last": "10.255.255.255",
        "netmask": "255.0.0.0",
        "size": 1 << 24,
    }
    assert call("cidr.parse", "::/0")["size"] is None
    assert call("cidr.parse", "10.1.2.3/8", {"strict": False})["network"] == "10.0.0.0/8"
    assert call("cidr.parse", "10.1.2.3")["prefix"] == 32
    assert call("cidr.contains", "10.0.0.0/8", "10.1.2.3") is True
    assert call("cidr.contains", "10.0.0.0/8", "10.0.0.0/7") is False
    assert call("cidr.contains", "::/0", "10.1.2.3") is False
    assert call("cidr.overlaps", "10.0.0.0/8", "10.1.0.0/16") is True
    assert call("cidr.overlaps", "10.0.0.0/8", "::/0") is False
    assert call("cidr.subnets", "10.0.0.0/8", 9) == ["10.0.0.0/9", "10.128.0.0/9"]
    assert len(call("cidr.subnets", "::/64", 74)) == 1024
    assert call("cidr.collapse", ["::1", "10.128.0.0/9", "10.0.0.0/9"]) == ["10.0.0.0/8", "::1/128"]


def test_addresses() -> None:
    kinds = {"private", "loopback", "link_local", "multicast", "unspecified", "reserved", "global"}
    found = call("cidr.address", "0:0::1")
    assert (found["address"], found["version"], found["loopback"]) == ("::1", 6, True)
    assert set(found) == kinds | {"address", "version"}
    assert call("cidr.address", "169.254.1.1")["link_local"] is True


@pytest.mark.parametrize(
    "text", ["", "10.0.0", "10.0.0.256", "010.0.0.1", "10.0.0.1/8", "1", "::1::", "é", "10.0.0.1\n", "x" * 200]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """An address with a leading zero is octal to some and decimal to others."""
    code = "too_large" if len(text) > 128 else "invalid_argument"
    refused("cidr.address", text, words="", code=code)


@pytest.mark.parametrize(
    ("name", "args", "words", "parameter", "code"),
    [
        ("cidr.parse", ["10.0.0.1/8"], "bits after its prefix", "network", "invalid_argument"),
        ("cidr.parse", ["10.0.0.0/33"], "is no network", "network", "invalid_argument"),
        ("cidr.contains", ["10.0.0.0/8", "x"], "is no network", "other", "invalid_argument"),
        ("cidr.subnets", ["10.0.0.0/8", 7], "must be 8 to 32", "prefix", "invalid_argument"),
        ("cidr.subnets", ["10.0.0.0/8", 33], "must be 8 to 32", "prefix", "invalid_argument"),
        ("cidr.subnets", ["10.0.0.0/8", 19], "more than 1024", "prefix", "too_large"),
        ("cidr.collapse", [["x"]], "is no network", "networks", "invalid_argument"),
        ("cidr.collapse", [["::1"] * 10_001], "more than 10000", "networks", "too_large"),
        ("cidr.collapse", [[1]], "item 1 must be text", "networks", "invalid_argument"),
    ],
)
def test_bad_networks_are_refused(name: str, args: list[Any], words: str, parameter: str, code: str) -> None:
    refused(name, *args, words=words, parameter=parameter, code=code)


# url

NOTHING = {
    "scheme": "",
    "user": None,
    "password": None,
    "host": None,
    "port": None,
    "path": "",
    "query": "",
    "fragment": "",
}


@pytest.mark.parametrize(
    ("text", "parts"),
    [  # the first seven are the examples of RFC 3986, section 1.1.2
        ("ftp://ftp.is.co.za/rfc/rfc1808.txt", {"scheme": "ftp", "host": "ftp.is.co.za", "path": "/rfc/rfc1808.txt"}),
        (
            "ldap://[2001:db8::7]/c=GB?objectClass?one",
            {"scheme": "ldap", "host": "2001:db8::7", "path": "/c=GB", "query": "objectClass?one"},
        ),
        ("mailto:John.Doe@example.com", {"scheme": "mailto", "path": "John.Doe@example.com"}),
        ("news:comp.infosystems.www.servers.unix", {"scheme": "news", "path": "comp.infosystems.www.servers.unix"}),
        ("tel:+1-816-555-1212", {"scheme": "tel", "path": "+1-816-555-1212"}),
        ("telnet://192.0.2.16:80/", {"scheme": "telnet", "host": "192.0.2.16", "port": 80, "path": "/"}),
        (
            "urn:oasis:names:specification:docbook:dtd:xml:4.1.2",
            {"scheme": "urn", "path": "oasis:names:specification:docbook:dtd:xml:4.1.2"},
        ),
        (
            "HTTPS://u:p@EXAMPLE.org:8443/a%20b?c=d#e",
            {
                "scheme": "https",
                "user": "u",
                "password": "p",
                "host": "example.org",
                "port": 8443,
                "path": "/a%20b",
                "query": "c=d",
                "fragment": "e",
            },
        ),
        ("//host/x", {"host": "host", "path": "/x"}),
        ("a/b", {"path": "a/b"}),
        ("", {}),
        ("?q", {"query": "q"}),
        ("/a:b", {"path": "/a:b"}),
    ],
)
def test_urls(text: str, parts: dict[str, Any]) -> None:
    assert call("url.parse", text) == NOTHING | parts


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http://a b/", "character 9 is ' '"),
        ("http://a\n/", "character 9 is '\\n'"),
        ("http://é/", "percent-encoded"),
        ("http://a\\b/", "percent-encoded"),
        (" http://a/", "character 1"),
        ("http://a/%zz", "character 10 is '%'"),
        ("http://a/%2", "'%'"),
        ("http://a:65536/", "is no port"),
        ("http://a:x/", "is no port"),
        ("http://a:-1/", "is no port"),
        ("http://a:/:", ""),
        ("http://u@v@h/", "a user"),
        ("http://[::1/", "[ ]"),
        ("http://::1]/", ""),
        ("http://[1.2.3.4]/", "no IPv6 address"),
        ("http://[::1]x/", "follows its address"),
        ("http://[v1.x]/", "no IPv6"),
        ("http://h/[", "[ ]"),
        ("http://h/#a#b", "#"),
        ("1http://h/", "no scheme"),
        (":b", "no scheme"),
        ("http://" + "h" * 9000, "8192 characters"),
    ],
)
def test_what_is_no_url_is_refused(text: str, words: str) -> None:
    """What two readers repair in two ways leads one of them to another host."""
    if text == "http://a:/:":  # an empty port and a colon in a path are both allowed (sections 3.2.3 and 3.3)
        assert call("url.parse", text) == NOTHING | {"scheme": "http", "host": "a", "path": "/:"}
        return
    refused("url.parse", text, words=words, code="too_large" if len(text) > 8192 else "invalid_argument")


@given(st.text(st.sampled_from("ab:/?#[]@%20.-é "), max_size=24))
def test_what_is_parsed_can_be_built_again(text: str) -> None:
    parts = tried("url.parse", text)
    if isinstance(parts, CallError):
        return
    built = tried("url.build", parts)
    if not isinstance(built, CallError):  # an empty query and none are read as the same, but not written as such
        assert call("url.parse", built) == parts


@pytest.mark.parametrize(
    "parts",
    [
        {"host": "a/b"},
        {"host": "a@b"},
        {"path": "//a"},
        {"path": "a?b"},
        {"query": "a#b"},
        {"scheme": "a:b"},
        {"password": "x"},
        {"port": 80},
        {"path": "a:b"},
        {"host": "h", "path": "x"},
        {"host": "h", "port": 70000},
        {"host": "h", "port": "80"},
        {"nosuch": "x"},
        {"host": 1},
        {"host": "a b"},
    ],
)
def test_parts_that_would_be_read_as_others_are_refused(parts: dict[str, Any]) -> None:
    refused("url.build", parts, words="", parameter="parts")


#: RFC 3986, section 5.4.1.
JOINED = {
    "g:h": "g:h",
    "g": "http://a/b/c/g",
    "./g": "http://a/b/c/g",
    "g/": "http://a/b/c/g/",
    "/g": "http://a/g",
    "//g": "http://g",
    "?y": "http://a/b/c/d;p?y",
    "g?y": "http://a/b/c/g?y",
    "#s": "http://a/b/c/d;p?q#s",
    "g#s": "http://a/b/c/g#s",
    "": "http://a/b/c/d;p?q",
    ".": "http://a/b/c/",
    "..": "http://a/b/",
    "../g": "http://a/b/g",
    "../..": "http://a/",
    "../../g": "http://a/g",
    "../../../g": "http://a/g",
}


@pytest.mark.parametrize(("reference", "expected"), JOINED.items())
def test_references_are_resolved_as_the_standard_says(reference: str, expected: str) -> None:
    assert call("url.join", "http://a/b/c/d;p?q", reference) == expected


def test_a_base_has_a_scheme() -> None:
    refused("url.join", "/a", "b", words="must have a scheme", parameter="base")
    refused("url.join", "http://a/", "b c", words="percent-encoded", parameter="reference")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20) | st.binary(max_size=20))
def test_percent_encoding_round_trip(data: str | bytes) -> None:
    coded = call("url.encode", data)
    assert call("url.parse", f"http://h/{coded}")["path"] == f"/{coded}"
    plain = call("url.decode", coded)
    given_bytes = data.encode() if isinstance(data, str) else data
    assert (plain.encode() if isinstance(plain, str) else plain) == given_bytes


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=9),
        st.lists(st.text("a&=+ é%", max_size=5), min_size=1, max_size=3),
        max_size=4,
    )
)
def test_query_round_trip(fields: dict[str, list[str]]) -> None:
    assert call("url.decode_query", call("url.encode_query", fields)) == fields


def test_queries() -> None:
    assert call("url.decode_query", "a=1&a=x+y&b&&c=%2B") == {"a": ["1", "x y"], "b": [""], "c": ["+"]}
    assert call("url.decode_query", "a=x+y", {"plus": False}) == {"a": ["x+y"]}
    assert call("url.encode_query", {"n": 1, "t": True, "l": ["x", 2.5]}) == "l=x&l=2.5&n=1&t=true"
    refused("url.decode_query", "a=%2", words="two hexadecimal digits")
    refused("url.decode_query", "%ff=1", words="is not UTF-8")
    refused("url.decode_query", "a&" * 2000, words="more than 1000", code="too_large")
    refused("url.encode_query", {"a": {}}, words="must be text", parameter="fields")


# path


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("join", [["/a", "b/", "c"]], "/a/b/c"),
        ("join", [["a"]], "a"),
        ("name", ["/a/b/"], "b"),
        ("name", ["/"], ""),
        ("parent", ["/a/b/"], "/a"),
        ("parent", ["a"], "."),
        ("parent", ["/"], "/"),
        ("parent", ["/a"], "/"),
        ("stem", ["/x/a.tar.gz"], "a.tar"),
        ("suffix", ["/x/a.tar.gz"], ".gz"),
        ("suffix", [".profile"], ""),
        ("split", ["/a//b/"], ["/", "a", "b"]),
        ("split", ["a/b"], ["a", "b"]),
        ("is_absolute", ["/a"], True),
        ("is_absolute", ["a"], False),
        ("normalize", ["//a/./b/../c//"], "/a/c"),
        ("normalize", ["/../a"], "/a"),
        ("normalize", ["../a"], "../a"),
        ("relative", ["/a/b", "/a/c"], "../b"),
        ("relative", ["a", "a"], "."),
        ("relative", ["a/b", "c"], "../a/b"),
        ("is_within", ["/a/b", "/a"], True),
        ("is_within", ["/ab", "/a"], False),
        ("is_within", ["/a/../b", "/a"], False),
        ("is_within", ["/a", "/"], True),
        ("is_within", ["a", "/"], False),
        ("is_within", ["a/b", "."], True),
        ("is_within", ["../a", "."], False),
        ("is_within", ["../..", ".."], False),
        ("is_within", ["../a", ".."], True),
        ("name", [b"/a/\xff"], b"\xff"),
        ("name", [b"/\xff/a"], "a"),
        ("join", [["/a", b"\xff"]], b"/a/\xff"),
        ("split", [b"/a/\xff"], ["/", "a", b"\xff"]),
    ],
)
def test_paths(name: str, args: list[Any], expected: Any) -> None:
    assert call(f"path.{name}", *args) == expected


@pytest.mark.parametrize(
    ("name", "args", "words", "parameter"),
    [
        ("join", [["/a", "/etc/shadow"]], "item 2 is absolute", "parts"),
        ("join", [[]], "is empty", "parts"),
        ("join", [["a", 1]], "item 2 must be text", "parts"),
        ("name", ["a\0b"], "NUL", "path"),
        ("name", [""], "is empty", "path"),
        ("relative", ["/a", "b"], "both be absolute", "base"),
        ("relative", ["../a", "b"], "above where they begin", "base"),
        ("is_within", ["a", "b\0"], "NUL", "base"),
        ("name", [1], "text or bytes", "path"),
    ],
)
def test_bad_paths_are_refused(name: str, args: list[Any], words: str, parameter: str) -> None:
    refused(f"path.{name}", *args, words=words, parameter=parameter)


PATHS = st.text(st.sampled_from("ab./"), min_size=1, max_size=12)


@given(PATHS, PATHS)
def test_what_is_within_is_below_also_for_the_library(path: str, base: str) -> None:
    inner, outer = posixpath.normpath(f"/r/s/t/{path}"), posixpath.normpath(f"/r/s/t/{base}")
    if not path.startswith("/") and not base.startswith("/") and ".." not in path and ".." not in base:
        assert call("path.is_within", path, base) == (posixpath.commonpath([inner, outer]) == outer)
    if call("path.is_within", path, base) and path.startswith("/"):
        assert posixpath.commonpath([posixpath.normpath(path), posixpath.normpath(base)]).lstrip(
            "/"
        ) == posixpath.normpath(base).lstrip("/")
