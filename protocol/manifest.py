"""``manifest.yaml``: what a script is, asks for and promises. Unknown keys are refused; errors name line and key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from protocol import limits, versions
from protocol.document import Reader, load
from protocol.errors import ArgumentError
from protocol.names import check_pattern
from protocol.parameters import Parameter, parse_parameter
from protocol.tiers import Tier

LANGUAGES = ("lua", "luajit", "python")
METRIC_TYPES = ("string", "gauge", "int32", "uint32", "int64", "uint64", "double")
KINDS = ("script", "library")
VISIBILITIES = ("private", "account", "public")
RESULT_TYPES = ("object", "array", "string", "integer", "number", "boolean", "null")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*)+")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_CALL = re.compile(r"([a-z][a-z0-9_]*)(\.([a-z][a-z0-9_]*|\*))?")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TAG = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")
_LICENCE = re.compile(r"[A-Za-z0-9.+() -]{1,100}")
_LINK = re.compile(r"https://[A-Za-z0-9.-]{1,253}(:[0-9]{1,5})?(/[!-~]{0,1000})?")


@dataclass(frozen=True, slots=True)
class Need:
    """One call that the script asks for, narrowed where it says so."""

    call: str  # a name, or family.*
    paths: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    names: tuple[str, ...] = ()  # scripts that it calls, secrets that it uses


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric that the script promises."""

    name: str
    type: str
    unit: str


@dataclass(frozen=True, slots=True)
class Test:
    """One test of the manifest: declared results of calls, and what must come out."""

    name: str
    parameters: dict[str, Any]
    calls: dict[str, Any]  # call -> its result, or a list of {returns: …} consumed in order
    expect: dict[str, Any]
    __test__ = False  # pytest, this is not one of yours


@dataclass(frozen=True, slots=True)
class Requirement:
    """A library that the script uses."""

    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class Result:
    """What a script promises to return."""

    type: str  # one of RESULT_TYPES
    fields: dict[str, str] = field(default_factory=dict)  # of an object: name -> type


@dataclass(frozen=True, slots=True)
class Manifest:
    """A parsed manifest. Absent limits are the tier's."""

    name: str
    version: str
    language: str
    main: str
    tier: Tier
    description: str = ""
    parameters: dict[str, Parameter] = field(default_factory=dict)
    needs: tuple[Need, ...] = ()
    limits: dict[str, float | int] = field(
        default_factory=dict
    )  # wall and cpu in s; memory and output in bytes; counts
    metrics: tuple[Metric, ...] = ()
    requires: tuple[Requirement, ...] = ()
    tests: tuple[Test, ...] = ()
    commands: dict[str, tuple[str, ...]] = field(default_factory=dict)  # name -> argv prefix, for proc.command
    kind: str = "script"  # one of KINDS; a library is only for scripts that pin it
    visibility: str = "account"  # one of VISIBILITIES: who may read it on the server
    tags: tuple[str, ...] = ()
    licence: str = ""  # as SPDX writes it, such as Apache-2.0
    links: dict[str, str] = field(default_factory=dict)  # what it is -> https address
    result: Result | None = None  # what it promises to return; None: nothing is promised

    def check_parameters(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters of a run: ``given``, checked, with the defaults of the others.

        Raises:
            ArgumentError: Unknown, missing or not allowed; names the parameter.
        """
        for name in given:
            if name not in self.parameters:
                known = ", ".join(sorted(self.parameters)) or "none"
                raise ArgumentError(f"{self.name} has no parameter {name!r:.60} (known: {known})", parameter=name)
        result: dict[str, Any] = {}
        for name, parameter in self.parameters.items():
            if name in given:
                result[name] = parameter.check(given[name])
            elif parameter.required:
                raise ArgumentError(f"the parameter {name!r} of {self.name} is required", parameter=name)
            elif parameter.default is not None:
                result[name] = parameter.default
        return result

    def convert_parameter(self, name: str, text: str) -> Any:
        """Return the value of parameter ``name`` as typed on a command line."""
        if name not in self.parameters:
            known = ", ".join(sorted(self.parameters)) or "none"
            raise ArgumentError(f"{self.name} has no parameter {name!r:.60} (known: {known})", parameter=name)
        return self.parameters[name].convert(text)


def implied(filename: str, tier: Tier) -> Manifest:
    """Return the manifest of a bare file, such as ``peek.lua``.

    Raises:
        ArgumentError: The suffix is of no language.
    """
    stem, dot, suffix = filename.rpartition(".")
    language = {".lua": "lua", ".py": "python"}.get(dot + suffix)
    if language is None:
        raise ArgumentError("is not a .lua or .py file", where=filename)
    word = re.sub(r"[^a-z0-9_-]", "-", stem.lower()).lstrip("-_") or "script"
    return Manifest(f"local/{word}", "0.0.0", language, filename, tier)


def parse(text: str, filename: str = "manifest.yaml") -> Manifest:
    """Return the manifest in ``text``.

    Raises:
        DocumentError: Names file, line and key.
    """
    reader = Reader(load(text, filename, max_bytes=limits.MAX_MANIFEST_BYTES))
    manifest = Manifest(
        name=_matching(reader, "name", _NAME, "a path such as checks/disk", most=limits.MAX_NAME_CHARACTERS),
        version=_matching(reader, "version", versions.FORM, "a version such as 1.2.0", most=versions.MAX_CHARACTERS),
        language=reader.choice("language", LANGUAGES),
        main=reader.text("main"),
        tier=Tier.parse(reader.text("tier"), where=reader.where("tier")),
        description=reader.text("description", ""),
        parameters={name: parse_parameter(name, inner) for name, inner in reader.mapping("parameters").items()},
        needs=tuple(_need(inner) for inner in reader.items("needs")),
        limits=_limits(reader.section("limits")),
        metrics=tuple(_metric(inner) for inner in reader.items("metrics")),
        requires=_requirements(reader),
        tests=tuple(_test(index, inner) for index, inner in enumerate(reader.items("tests"))),
        commands=_commands(reader),
        kind=reader.choice("kind", KINDS, "script"),
        visibility=reader.choice("visibility", VISIBILITIES, "account"),
        tags=_tags(reader),
        licence=_licence(reader),
        links=_links(reader),
        result=_result(reader.section("result")) if reader.has("result") else None,
    )
    reader.finish()
    return manifest


def _matching(reader: Reader, key: str, form: re.Pattern[str], what: str, most: int = 200) -> str:
    value: str = reader.text(key)
    if len(value) > most or not form.fullmatch(value):
        raise reader.fail(key, f"{value!r:.80} is not {what}")
    return value


def _need(reader: Reader) -> Need:
    reader.require_said()
    call = reader.text("call")
    if not _CALL.fullmatch(call):
        raise reader.fail("call", f"{call!r:.60} is not a call such as fs.read or fs.*")
    paths, commands = tuple(reader.strings("paths", [])), tuple(reader.strings("commands", []))
    for path in paths:
        if not path.startswith("/"):
            raise reader.fail("paths", f"{path!r:.60} is not an absolute path")
    names = tuple(reader.strings("names", []))
    for name in names:
        try:
            check_pattern(name, parameter="names")
        except ArgumentError as error:
            raise reader.fail("names", error.message) from None
    need = Need(call, paths, commands, tuple(reader.strings("targets", [])), names)
    reader.finish()
    return need


def _limits(reader: Reader) -> dict[str, float | int]:
    found: dict[str, float | int | None] = {
        "wall": reader.duration("wall", None),
        "cpu": reader.duration("cpu", None),
        "memory": reader.size("memory", None),
        "output": reader.size("output", None),
        "calls": reader.integer("calls", None),
        "calls_per_s": reader.integer("calls_per_s", None),
        "open_files": reader.integer("open_files", None),
        "processes": reader.integer("processes", None),
        "log_lines": reader.integer("log_lines", None),
        "metrics": reader.integer("metrics", None),
        "rows": reader.integer("rows", None),
    }
    reader.finish()
    return {name: value for name, value in found.items() if value is not None}


def _metric(reader: Reader) -> Metric:
    metric = Metric(reader.text("name"), reader.choice("type", METRIC_TYPES), reader.text("unit", ""))
    reader.finish()
    return metric


def _requirements(reader: Reader) -> tuple[Requirement, ...]:
    found: dict[str, Requirement] = {}
    for inner in reader.items("requires"):
        made = _requirement(inner)
        if made.name in found:
            raise inner.document_error(f"{made.name} is required twice")
        found[made.name] = made
    return tuple(found.values())


def _requirement(reader: Reader) -> Requirement:
    name = _matching(reader, "name", _NAME, "a path such as lib/rates", most=limits.MAX_NAME_CHARACTERS)
    made = Requirement(name, _matching(reader, "digest", _DIGEST, "a digest such as sha256:5f3c..."))
    reader.finish()
    return made


def _test(index: int, reader: Reader) -> Test:
    made = Test(
        name=reader.text("name", f"test {index + 1}"),
        parameters=dict(reader.section("parameters").plain()),
        calls=dict(reader.section("calls").plain()),
        expect=dict(reader.section("expect").plain()),
    )
    reader.finish()
    return made


def _commands(reader: Reader) -> dict[str, tuple[str, ...]]:
    section = reader.section("commands")
    found = {}
    for name in section.plain():
        argv = section.strings(name)
        if not _WORD.fullmatch(name.replace("-", "_")) or not argv or not argv[0].startswith("/"):
            raise section.fail(name, "a command is a name and an argv that begins with an absolute path")
        found[name] = tuple(argv)
    return found


def _tags(reader: Reader) -> tuple[str, ...]:
    found: list[str] = reader.strings("tags", [])
    for tag in found:
        if not _TAG.fullmatch(tag):
            raise reader.fail("tags", f"{tag!r:.60} is not a tag: up to 40 of a-z, 0-9, -, _ and .")
    if len(found) > limits.MAX_TAGS or len(set(found)) != len(found):
        raise reader.fail("tags", f"at most {limits.MAX_TAGS} tags, none of them twice")
    return tuple(found)


def _licence(reader: Reader) -> str:
    found: str = reader.text("licence", "")
    if found and not _LICENCE.fullmatch(found):
        raise reader.fail("licence", f"{found!r:.60} is not a licence as SPDX writes it, such as Apache-2.0")
    return found


def _links(reader: Reader) -> dict[str, str]:
    section = reader.section("links")
    found = {}
    for name in section.plain():
        address = section.text(name)
        if not _TAG.fullmatch(name) or not _LINK.fullmatch(address):  # people will follow it from a page of ours
            raise section.fail(name, "a link is a word and an https:// address")
        found[name] = address
    if len(found) > limits.MAX_TAGS:
        raise reader.fail("links", f"at most {limits.MAX_TAGS} links")
    return found


def _result(reader: Reader) -> Result:
    kind = reader.choice("type", RESULT_TYPES)
    section = reader.section("fields")
    fields = {name: section.choice(name, RESULT_TYPES) for name in section.plain()}
    if fields and kind != "object":
        raise reader.fail("fields", "only an object has fields")
    reader.finish()
    return Result(kind, fields)
