"""Network targets: what a pattern covers, what needs to be named, and that nothing else is taken for an address."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.targets import GUARDED, NetTarget, TargetPattern, allowed_by, guards, read_address, read_host
from protocol.errors import ArgumentError


def target(text: str, address: str | None = None) -> NetTarget:
    """``host/port`` or ``host``, and the address that it was found to have."""
    host, _, port = text.partition("/")
    made = NetTarget.of(host, int(port) if port else None)
    return made if address is None else made.at(address)


FITS = [
    ("web.example.org", "web.example.org/443", True), ("web.example.org", "WEB.example.org./80", True),
    ("Web.Example.Org", "web.example.org", True), ("web.example.org", "xweb.example.org/1", False),
    ("web.example.org", "web.example.org.evil.net/1", False), ("web.example.org:443", "web.example.org/443", True),
    ("web.example.org:443", "web.example.org/80", False), ("web.example.org:443", "web.example.org", False),
    ("*.example.org:443", "a.b.example.org/443", True), ("*.example.org", "example.org/443", False),
    ("*.example.org", "notexample.org/443", False), ("*", "anything/1", True), ("*:80-90,443", "anything/443", True),
    ("*:80-90,443", "anything/85", True), ("*:80-90,443", "anything/91", False), ("*", "192.0.2.1", True),
    ("10.0.0.0/8", "10.9.9.9/1", True), ("10.0.0.0/8", "11.0.0.1/1", False),
    ("10.0.0.0/8:22,80-90", "10.1.1.1/22", True),
    ("10.0.0.0/8:22,80-90", "10.1.1.1/23", False), ("10.1.2.3", "10.1.2.3/5", True), ("10.1.2.3", "10.1.2.4/5", False),
    ("10.0.0.0/8", "ten.example.org/1", False), ("[2001:db8::/32]:443", "2001:db8::1/443", True),
    ("[2001:db8::/32]:443", "2001:db8::1/444", False), ("[2001:DB8::1]", "2001:db8:0::1", True),
    ("[2001:db8::/32]", "10.0.0.1/443", False), ("10.0.0.0/8", "::ffff:10.0.0.1/22", True),
    ("[::ffff:10.0.0.0/104]", "10.0.0.1/22", True), ("*.1", "10.0.0.1/22", None),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "asked", "fits"), [row for row in FITS if row[2] is not None])
def test_what_a_pattern_covers(pattern: str, asked: str, fits: bool) -> None:
    parsed = TargetPattern.parse(pattern)
    assert parsed.allows(target(asked)) is fits
    assert parsed.covers(target(asked)) is fits, "nothing of it is guarded, so that both mean the same"


def test_a_network_fits_what_a_name_was_found_to_be() -> None:
    named = target("ten.example.org/22", "10.0.0.1")
    assert TargetPattern.parse("10.0.0.0/8:22").allows(named)
    assert not TargetPattern.parse("10.0.0.0/8:23").allows(named)
    assert not TargetPattern.parse("11.0.0.0/8:22").allows(named)


def test_where_a_layer_only_narrows_a_name_waits_for_its_address() -> None:
    patterns = (TargetPattern.parse("10.0.0.0/8:22"),)
    assert allowed_by(patterns, target("ten.example.org/22"), narrows=True)
    assert not allowed_by(patterns, target("ten.example.org/22"), narrows=False)
    assert not allowed_by(patterns, target("ten.example.org/23"), narrows=True)
    assert not allowed_by(patterns, target("ten.example.org/22", "192.0.2.1"), narrows=True)
    assert not allowed_by((TargetPattern.parse("web:22"),), target("ten.example.org/22"), narrows=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "neither the name nor the address"), (" web", "neither"), ("web ", "neither"), ("web\0", "neither"),
        ("we_b..x", "neither"), ("-web", "neither"), ("a" * 64, "neither"), ("*web", "neither"), ("w*b", "neither"),
        ("*.*", "neither"), ("http://web", "no port"), ("web:", "no port"), ("web:0", "no port"),
        ("web:65536", "no port"), ("web:-1", "no port"), ("web:80-", "no port"), ("web:90-80", "no port"),
        ("web:80,", "no port"), ("web:٨٠", "no port"), ("web:*", "no port"), ("web:80 ", "no port"),
        ("web:1:2", "in brackets"), ("2001:db8::1", "in brackets"), ("[2001:db8::1", "must come"),
        ("[2001:db8::1]443", "must come"), ("[]", "no network"), ("[10.0.0.1]", "Expected|At least"),
        ("10.0.0.1/8", "host bits"), ("10.0.0.0/33", "33"), ("10.0.0", "4 octets"),
        ("10.0.0.0/255.0.0.0", "no network"),
        ("10.0.0.0/0.0.0.255", "no network"), ("[fe80::1%eth0]", "no network"), ("010.0.0.1", "Leading zeros|octet"),
        ("web/8", "no network"), ("bücher.example", "ASCII"), ("0x7f.1", "ends in a number"),
        ("a.0x1", "ends in a number"),
        ("127.1", "4 octets"), ("x" * 500, "longer than"), ("web:" + ",".join(["1"] * 33), "more than 32"),
    ],
)  # fmt: skip
def test_what_is_no_pattern_says_why_and_where(text: str, said: str) -> None:
    with pytest.raises(ArgumentError, match=rf"^x\.yaml:3: .*is no target: .*({said})"):
        TargetPattern.parse(text, where="x.yaml:3")


@pytest.mark.parametrize(
    "text",
    ["", "a b", "a\0", "\ud800", "127.1", "0x7f.0.0.1", "2130706433", "0177.0.0.1", "1.2.3.4.5", "fe80::1%eth0",
     "[::1]", "web:80", "http://web", "-a", "a-", "a..b", "." , "a" * 254, "bücher.example", "ａ.example", "a/b", "@a"],
)  # fmt: skip
def test_what_is_no_host(text: str) -> None:
    """Old forms of addresses, which the system's resolver would take, must not come past the guard as names."""
    with pytest.raises(ArgumentError):
        read_host(text)


#: What reaches the host itself, its cloud or nobody in particular, and by which name it is guarded.
SPECIAL = [
    ("169.254.169.254", "cloud metadata"), ("fd00:ec2::254", "cloud metadata"), ("100.100.100.200", "cloud metadata"),
    ("168.63.129.16", "cloud metadata"), ("169.254.170.2", "cloud metadata"), ("192.0.0.192", "cloud metadata"),
    ("fd20:ce::254", "cloud metadata"), ("127.0.0.1", "loopback"), ("127.9.9.9", "loopback"), ("::1", "loopback"),
    ("169.254.1.1", "link-local"), ("fe80::1", "link-local"), ("0.0.0.0", "unspecified"), ("0.1.2.3", "unspecified"),
    ("::", "unspecified"), ("224.0.0.1", "multicast"), ("ff02::1", "multicast"), ("255.255.255.255", "reserved"),
    ("::ffff:127.0.0.1", "loopback"), ("::ffff:169.254.169.254", "cloud metadata"),
    ("::127.0.0.1", "loopback carried in IPv6"), ("::ffff:0:127.0.0.1", "loopback carried in IPv6"),
    ("64:ff9b::a9fe:a9fe", "cloud metadata carried in IPv6"), ("64:ff9b::7f00:1", "loopback carried in IPv6"),
    ("64:ff9b:1::1", "translated"), ("2002:7f00:1::", "loopback carried in IPv6"),
    ("2002:a9fe:a9fe::1", "cloud metadata carried in IPv6"),
    ("2001:0:808:808:0:0:80ff:fffe", "loopback carried in IPv6"),
    ("2001:0:7f00:1::", "loopback carried in IPv6"), ("2001:db8::5efe:127.0.0.1", "loopback carried in IPv6"),
    ("2001:db8::200:5efe:7f00:1", "loopback carried in IPv6"), ("fe80::5efe:10.0.0.1", "link-local"),
]  # fmt: skip
WIDE = [
    "*",
    "*:80",
    "0.0.0.0/0",
    "0.0.0.0/1",
    "128.0.0.0/1",
    "[::/0]",
    "[::/8]",
    "[2000::/3]",
    "[fc00::/7]",
    "100.64.0.0/10",
]


@pytest.mark.parametrize(("address", "name"), SPECIAL)
def test_what_is_guarded_must_be_named(address: str, name: str) -> None:
    found = target("web.example.org/80", address)
    assert found.guarded == name
    for pattern in (*WIDE, "web.example.org", "*.example.org:80"):
        assert not TargetPattern.parse(pattern).allows(found), pattern
    written = found.address or ""
    assert TargetPattern.parse(f"[{written}]" if ":" in written else written).allows(found)


@pytest.mark.parametrize(("address", "_name"), SPECIAL)
def test_a_rule_that_denies_covers_what_is_guarded(address: str, _name: str) -> None:
    assert TargetPattern.parse("*").covers(target("web.example.org/80", address))
    assert TargetPattern.parse("web.example.org").covers(target("web.example.org/80", address))


@pytest.mark.parametrize("form", ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "2002:a01:203::", "::10.1.2.3"])
def test_a_network_that_is_denied_is_denied_in_every_form(form: str) -> None:
    assert TargetPattern.parse("10.0.0.0/8").covers(target("x/1", form))
    assert not TargetPattern.parse("11.0.0.0/8").covers(target("x/1", form))


def test_a_network_within_the_guarded_one_names_it() -> None:
    for pattern, address in (
        ("127.0.0.0/8", "127.0.0.1"), ("127.0.0.1:80", "127.0.0.1"), ("[::1]:80", "::1"), ("localhost", "127.0.0.1"),
        ("localhost:80", "::1"), ("224.0.0.0/4", "224.0.0.1"), ("[fe80::/10]", "fe80::1"),
        ("169.254.0.0/16", "169.254.1.1"),
    ):  # fmt: skip
        assert TargetPattern.parse(pattern).allows(target("localhost/80", address)), pattern


@pytest.mark.parametrize(
    ("pattern", "host", "address"),
    [
        ("169.254.0.0/16", "x", "169.254.169.254"),  # metadata is more than link-local
        ("126.0.0.0/7", "x", "127.0.0.1"), ("localhost", "localhost", "169.254.169.254"),
        ("localhost", "x", "127.0.0.1"), ("localhost", "localhost", "0.0.0.0"),
        ("*.localhost", "a.localhost", "127.0.0.1"),
        ("localhost", "localhost", "64:ff9b::7f00:1"), ("127.0.0.0/8", "x", "2002:7f00:1::"),
        ("[64:ff9b::/96]", "x", "64:ff9b::a9fe:a9fe"),
    ],
)  # fmt: skip
def test_what_does_not_name_it(pattern: str, host: str, address: str) -> None:
    assert not TargetPattern.parse(pattern).allows(target(host, address))


@pytest.mark.parametrize("host", ["metadata.google.internal", "METADATA.google.internal.", "instance-data", "metadata"])
def test_the_names_of_metadata_are_guarded_before_they_are_looked_up(host: str) -> None:
    asked = target(f"{host}/80")
    assert asked.guarded == "cloud metadata"
    for pattern in ("*", "*.internal", "*.google.internal:80", "0.0.0.0/0"):
        assert not TargetPattern.parse(pattern).allows(asked)
        assert not TargetPattern.parse(pattern).allows(asked.at("192.0.2.1")) or pattern == "0.0.0.0/0"
    assert TargetPattern.parse(host).allows(asked)
    assert not TargetPattern.parse(host).allows(asked.at("169.254.169.254")), "its address must be named as well"


def test_ordinary_addresses_are_not_guarded() -> None:
    for address in (
        "192.0.2.1",
        "10.0.0.1",
        "100.64.0.1",
        "2001:db8::1",
        "fd00::1",
        "64:ff9b::808:808",
        "2002:808:808::",
    ):
        assert not guards(address), address
        assert TargetPattern.parse("*").allows(target("web/1", address)), address


def test_what_is_shown() -> None:
    assert str(target("web.example.org/443", "192.0.2.1")) == "web.example.org:443 (192.0.2.1)"
    assert str(target("2001:db8::1/443")) == "[2001:db8::1]:443"
    assert str(target("web")) == "web"
    assert str(target("x/1", "fe80::1%eth0").address) == "fe80::1"


addresses = st.ip_addresses()
texts = st.text(max_size=60) | st.text("0123456789abcdefx.:[]/*-,%", max_size=40)


@given(texts)
def test_a_pattern_is_read_or_refused(text: str) -> None:
    try:
        pattern = TargetPattern.parse(text)
    except ArgumentError:
        return
    assert pattern.text == text
    pattern.allows(target("web.example.org/80", "192.0.2.1"))


@given(texts)
def test_a_host_is_read_to_its_one_form_or_refused(text: str) -> None:
    try:
        host = read_host(text)
    except ArgumentError:
        return
    assert read_host(host) == host
    assert host.isascii()
    assert NetTarget.of(text, 1) == NetTarget.of(host, 1)


@given(addresses)
def test_nothing_wide_reaches_what_python_knows_as_special(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    """The list here and the interpreter's own must not differ where it matters."""
    read = read_address(str(address))
    assert read is not None
    if read.is_loopback or read.is_link_local or read.is_multicast or read.is_unspecified:
        found = NetTarget("web", 80, str(read))
        assert found.guarded
        assert not any(TargetPattern.parse(pattern).allows(found) for pattern in WIDE)


@given(st.ip_addresses(v=4), st.integers(8, 32))
def test_a_network_holds_just_its_addresses(address: ipaddress.IPv4Address, prefix: int) -> None:
    network = ipaddress.IPv4Network((address, prefix), strict=False)
    pattern = TargetPattern.parse(str(network))
    inside = NetTarget.of(str(network[-1]), 1)
    named = all(guard.is_named_by(network) for guard in guards(str(network[-1])))
    assert pattern.allows(inside) is named
    beyond = int(network.broadcast_address) + 1
    if beyond < 1 << 32:
        assert not pattern.covers(NetTarget.of(str(ipaddress.IPv4Address(beyond)), 1))


@given(st.sampled_from([network for _, networks in GUARDED for network in networks if network.version == 4]), st.data())
def test_every_ipv6_form_of_a_guarded_address_is_guarded(network: ipaddress.IPv4Network, data: st.DataObject) -> None:
    inner = int(network.network_address) + data.draw(st.integers(0, network.num_addresses - 1))
    forms = [
        0xFFFF << 32 | inner, 0xFFFF << 48 | inner, 0x64FF9B << 96 | inner, 0x2002 << 112 | inner << 80,
        0x20010000 << 96 | (~inner & 0xFFFFFFFF), 0x20010DB8 << 96 | 0x5EFE << 32 | inner,
        0x20010DB8 << 96 | 0x02005EFE << 32 | inner,
    ]  # fmt: skip
    for form in forms:
        assert NetTarget("web", 80).at(str(ipaddress.IPv6Address(form))).guarded, ipaddress.IPv6Address(form)
