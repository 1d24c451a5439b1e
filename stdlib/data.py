"""Calls that the worker carries out itself: plain data in, plain data out. Declared here, done in ``sandbox.pure``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from stdlib.declaring import local
from stdlib.parameters import Bounds


def both(example: str) -> dict[str, str]:
    """Return an example that reads the same in both languages, but for the word that Lua begins it with."""
    return {"lua": f"local {example}", "python": example}


@local("param", result="Any", **both('device = param("device")'))
def param(name: str) -> None:
    """Return the run's parameter ``name``, or nothing if it was not given."""


@local(
    "json.encode", result="str", lua="local text = json.encode({free = 12})", python='text = json.encode({"free": 12})'
)
def json_encode(value: object, indent: Annotated[int, Bounds(0, 8, "spaces")] = 0) -> None:
    """Return ``value`` as JSON text, keys sorted; on one line, unless ``indent`` is more than 0."""


@local("json.decode", result="Any", **both("value = json.decode('{\"free\": 12}')"))
def json_decode(text: str) -> None:
    """Return the value that JSON ``text`` stands for.

    An integer of more than 64 bits is read as the nearest float. Of names that stand twice the last one counts.
    """


@local(
    "yaml.encode", result="str", lua="local text = yaml.encode({free = 12})", python='text = yaml.encode({"free": 12})'
)
def yaml_encode(value: object) -> None:
    """Return ``value`` as a YAML document in block style, keys sorted.

    A text that some reader could take for something else is quoted.
    """


@local("yaml.decode", result="Any", **both('value = yaml.decode("free: 12")'))
def yaml_decode(text: str) -> None:
    """Return the value of the one YAML document in ``text``, at most 1 Mi characters; nothing for an empty one.

    The core schema of YAML 1.2: ``yes`` and dates are texts. Aliases and merge keys are followed, as copies that count;
    tags, a key that stands twice, integers of more than 64 bits and numbers that are not finite are refused.
    """


@local("toml.decode", result="dict[str, Any]", **both('value = toml.decode("free = 12")'))
def toml_decode(text: str) -> None:
    """Return the tables of a TOML 1.0 document of at most 1 Mi characters. There is no way to write one.

    Dates and times are texts; integers of more than 64 bits and numbers that are not finite are refused.
    """


@local(
    "ini.encode",
    result="str",
    lua="local text = ini.encode({server = {port = 80}})",
    python='text = ini.encode({"server": {"port": 80}})',
)
def ini_encode(sections: dict[str, Any]) -> None:
    """Return the text of sections, each a map of texts, numbers and booleans, or lists of them; all sorted by name.

    Keys of the section with the empty name come first. What would not be read again as it was is refused.
    """


@local(
    "ini.decode",
    result="dict[str, Any]",
    lua='local server = ini.decode("[server]\\nport = 80").server',
    python='server = ini.decode("[server]\\nport = 80")["server"]',
)
def ini_decode(text: str, repeated: Literal["refuse", "last", "list"] = "refuse") -> None:
    """Return section to key to text. Keys before the first section are in the section with the empty name.

    Comments are lines that begin with ``#`` or ``;``. A line that begins with space goes on with the value before it.
    ``repeated`` says what becomes of a key that stands twice: refused, the last value, or a list of all. Nothing is
    interpolated, and names keep their case.
    """


@local(
    "csv.encode",
    result="str",
    lua='local text = csv.encode({{"a", 1}, {"b", 2}})',
    python='text = csv.encode([["a", 1], ["b", 2]])',
)
def csv_encode(rows: object, columns: list[str] = [], delimiter: str = ",") -> None:  # noqa: B006 - only declared
    """Return the text of ``rows``, which are all lists or all maps, with a line feed after each.

    ``columns`` are the first row; for maps they say what is written in which order, by default all names, sorted.
    """


@local(
    "csv.decode",
    result="list[Any]",
    lua='local first = csv.decode("name,free\\na,12", {header = true})[1]',
    python='first = csv.decode("name,free\\na,12", header=True)[0]',
)
def csv_decode(text: str, delimiter: str = ",", header: bool = False) -> None:
    """Return the rows of RFC 4180 ``text`` as lists of texts, without empty lines.

    With ``header`` they are maps by the names in the first row, and each must have as many values.
    """


@local("xml.decode", result="dict[str, Any]", **both("root = xml.decode('<disk name=\"sda\">12</disk>')"))
def xml_decode(text: str) -> None:
    """Return the root element of an XML document of at most 4 Mi characters.

    An element is ``{tag, attributes, children, text}``; its text has no space at its ends. Names keep their prefixes.
    A document type (DTD) is refused, and with it all entities; so is nesting of more than 29 elements.
    """
