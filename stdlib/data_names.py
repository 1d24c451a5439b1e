"""Calls of the worker's own on versions, addresses, URLs and paths. Done in ``sandbox.pure``."""

from __future__ import annotations

from typing import Annotated, Any

from stdlib.data import both
from stdlib.declaring import local
from stdlib.parameters import Bounds, Data


@local("semver.parse", result="dict[str, Any]", **both('version = semver.parse("1.2.3-rc.1")'))
def semver_parse(version: str) -> None:
    """Return the parts of a semantic version (2.0.0) as ``{major, minor, patch, prerelease, build}``.

    The last two are texts, empty where there are none.
    """


@local("semver.valid", result="bool", **both('is_version = semver.valid("1.2.3")'))
def semver_valid(text: str) -> None:
    """Tell whether ``text`` is a semantic version."""


@local("semver.compare", result="int", **both('order = semver.compare("1.2.3", "1.10.0")'))
def semver_compare(first: str, second: str) -> None:
    """Return -1, 0 or 1, as ``first`` is older than, equal to or newer than ``second``.

    Build metadata plays no part.
    """


@local("semver.satisfies", result="bool", **both('is_good = semver.satisfies("1.5.0", ">=1.2.0 <2.0.0")'))
def semver_satisfies(version: str, conditions: str) -> None:
    """Tell whether ``version`` meets all ``conditions``: versions with ``<``, ``<=``, ``>``, ``>=`` or ``=`` before.

    A pre-release counts by its place in the order alone.
    """


@local("cidr.address", result="dict[str, Any]", **both('found = cidr.address("10.0.0.1")'))
def cidr_address(text: str) -> None:
    """Return what an address of IPv4 or IPv6 is.

    As ``{address, version}`` and, each true or false, ``{private, loopback, link_local, multicast, unspecified}`` and
    ``{reserved, global}``.
    """


@local("cidr.parse", result="dict[str, Any]", **both('found = cidr.parse("10.0.0.0/8")'))
def cidr_parse(network: str, strict: bool = True) -> None:
    """Return what a network is, as ``{network, version, prefix, first, last, netmask, size}``.

    ``size`` is the number of its addresses, nothing if that needs more than 64 bits. Unless ``strict`` is false, bits
    after the prefix are refused. An address is the network of itself alone.
    """


@local("cidr.contains", result="bool", **both('is_inside = cidr.contains("10.0.0.0/8", "10.1.2.3")'))
def cidr_contains(network: str, other: str) -> None:
    """Tell whether an address or a network lies within ``network``."""


@local("cidr.overlaps", result="bool", **both('is_shared = cidr.overlaps("10.0.0.0/8", "10.1.0.0/16")'))
def cidr_overlaps(first: str, second: str) -> None:
    """Tell whether two networks have an address in common."""


@local("cidr.subnets", result="list[str]", **both('halves = cidr.subnets("10.0.0.0/8", 9)'))
def cidr_subnets(network: str, prefix: Annotated[int, Bounds(0, 128)]) -> None:
    """Return the parts of a network that have ``prefix``; at most 1024."""


@local(
    "cidr.collapse",
    result="list[str]",
    lua='local networks = cidr.collapse({"10.0.0.0/9", "10.128.0.0/9"})',
    python='networks = cidr.collapse(["10.0.0.0/9", "10.128.0.0/9"])',
)
def cidr_collapse(networks: list[str]) -> None:
    """Return the fewest networks that hold the same addresses, IPv4 first; at most 10000 may be given."""


@local("url.parse", result="dict[str, Any]", **both('parts = url.parse("https://host:8443/a?b=1")'))
def url_parse(text: str) -> None:
    """Return the parts of a URL as ``{scheme, user, password, host, port, path, query, fragment}``, still encoded.

    Strictly as RFC 3986 has it: what must be percent-encoded and is not is refused. User, password, host and port are
    nothing where there are none; host and scheme are in lower case.
    """


@local(
    "url.build",
    result="str",
    lua='local text = url.build({scheme = "https", host = "example.org", path = "/a"})',
    python='text = url.build({"scheme": "https", "host": "example.org", "path": "/a"})',
)
def url_build(parts: dict[str, Any]) -> None:
    """Return the URL of parts as ``url.parse`` returns them. What would be read as other parts is refused."""


@local("url.join", result="str", **both('text = url.join("https://example.org/a/b", "../c")'))
def url_join(base: str, reference: str) -> None:
    """Return what ``reference`` means in a document at ``base``."""


@local("url.encode", result="str", **both('text = url.encode("a b/c")'))
def url_encode(data: Data) -> None:
    """Return text or bytes percent-encoded, so that they can be one part of a path or one value of a query."""


@local("url.decode", result="str | bytes", **both('text = url.decode("a%20b")'))
def url_decode(text: str) -> None:
    """Return what percent-encoded ``text`` stands for; bytes, if it is not UTF-8."""


@local(
    "url.encode_query",
    result="str",
    lua='local query = url.encode_query({name = "a b", tag = {"x", "y"}})',
    python='query = url.encode_query({"name": "a b", "tag": ["x", "y"]})',
)
def url_encode_query(fields: dict[str, Any]) -> None:
    """Return a query of names, sorted, with a text, number or boolean each, or a list of them."""


@local("url.decode_query", result="dict[str, list[str]]", **both('fields = url.decode_query("name=a+b&tag=x&tag=y")'))
def url_decode_query(text: str, plus: bool = True) -> None:
    """Return each name of a query with the list of its values; ``+`` is a space, unless ``plus`` is false."""


@local(
    "path.join", result="str", lua='local file = path.join({"/etc", "ssh"})', python='file = path.join(["/etc", "ssh"])'
)
def path_join(parts: list[str]) -> None:
    """Return the parts with a slash between them; only the first may be absolute.

    As in all of ``path``, nothing is looked up, and a name that is not UTF-8 may be bytes.
    """


@local("path.name", result="str", **both('name = path.name("/etc/hosts")'))
def path_name(path: Data) -> None:
    """Return the last part of a path."""


@local("path.parent", result="str", **both('folder = path.parent("/etc/hosts")'))
def path_parent(path: Data) -> None:
    """Return the path without its last part; ``.`` for a bare name."""


@local("path.stem", result="str", **both('stem = path.stem("/var/log/a.log")'))
def path_stem(path: Data) -> None:
    """Return the last part without its suffix."""


@local("path.suffix", result="str", **both('suffix = path.suffix("/var/log/a.log")'))
def path_suffix(path: Data) -> None:
    """Return the suffix of the last part with its dot, or an empty text."""


@local("path.split", result="list[str]", **both('parts = path.split("/etc/hosts")'))
def path_split(path: Data) -> None:
    """Return the parts of a path; the first is ``/`` if it is absolute."""


@local("path.is_absolute", result="bool", **both('is_absolute = path.is_absolute("/etc")'))
def path_is_absolute(path: Data) -> None:
    """Tell whether a path begins with a slash."""


@local("path.normalize", result="str", **both('file = path.normalize("/etc/../var//log/.")'))
def path_normalize(path: Data) -> None:
    """Return a path without ``.``, ``..`` and doubled slashes; a link would make ``..`` mean something else."""


@local("path.relative", result="str", **both('way = path.relative("/var/log/a", "/var/lib")'))
def path_relative(path: Data, base: Data) -> None:
    """Return the way from ``base`` to ``path``; both absolute or both not."""


@local("path.is_within", result="bool", **both('is_below = path.is_within("/var/log/a", "/var")'))
def path_is_within(path: Data, base: Data) -> None:
    """Tell whether ``path`` is ``base`` or below it, as far as its text tells; what the host has may differ."""
