"""``manifest.yaml``: what a script is, asks for and promises. Unknown keys are refused; errors name line and key."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from protocol import limits
from protocol.document import Reader, load
from protocol.errors import ArgumentError
from protocol.names import check_pattern
from protocol.tiers import Tier

LANGUAGES = ("lua", "luajit", "python")
METRIC_TYPES = ("string", "gauge", "int32", "uint32", "int64", "uint64", "double")
PARAMETER_TYPES = ("string", "integer", "number", "boolean")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*)+")
_VERSION = re.compile(r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_CALL = re.compile(r"([a-z][a-z0-9_]*)(\.([a-z][a-z0-9_]*|\*))?")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One declared parameter of a script."""

    name: str
    type: str  # one of PARAMETER_TYPES
    required: bool = False
    default: Any = None
    pattern: str | None = None  # the whole of a string must match
    choices: tuple[Any, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    description: str = ""

    def check(self, value: Any) -> Any:
        """Return ``value`` if it is allowed.

        Raises:
            ArgumentError: It is not; names the parameter.
        """
        kinds: dict[str, tuple[type, ...]] = {
            "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,)
        }  # fmt: skip
        if type(value) not in kinds[self.type]:
            raise self._refuse(f"must be {_article(self.type)}, not {value!r:.60}")
        if type(value) in (int, float) and not -(2**63) <= value < 2**63:  # NaN is in no range
            raise self._refuse("is not a number in range")
        if self.choices and value not in self.choices:
            raise self._refuse(f"must be one of {', '.join(map(str, self.choices))}")
        if type(value) is str:
            self._check_text(value)
        elif type(value) is not bool:
            self._check_range(value)
        return value

    def _check_text(self, value: str) -> None:
        most = limits.MAX_TEXT_CHARACTERS if self.pattern is None else limits.MAX_PATTERN_TEXT_CHARACTERS
        if len(value) > most or "\0" in value:
            raise self._refuse(f"is longer than {most} characters or holds a NUL")
        if self.pattern is not None and not re.fullmatch(self.pattern, value):
            raise self._refuse(f"does not match {self.pattern}")

    def _check_range(self, value: float) -> None:
        if (self.minimum is not None and value < self.minimum) or (self.maximum is not None and value > self.maximum):
            raise self._refuse(f"must be {self.minimum} to {self.maximum}")

    def _refuse(self, message: str) -> ArgumentError:
        return ArgumentError(f"the parameter {self.name!r} {message}", parameter=self.name)

    def convert(self, text: str) -> Any:
        """Return the value that ``text``, as typed on a command line, stands for."""
        try:
            match self.type:
                case "integer":
                    return self.check(int(text))
                case "number":
                    return self.check(float(text))
                case "boolean":
                    return self.check({"true": True, "false": False}[text.lower()])
                case _:
                    return self.check(text)
        except (ValueError, KeyError):
            raise self._refuse(f"must be {_article(self.type)}, not {text!r:.60}") from None


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


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


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
        version=_matching(reader, "version", _VERSION, "a version such as 1.2.0"),
        language=reader.choice("language", LANGUAGES),
        main=reader.text("main"),
        tier=Tier.parse(reader.text("tier"), where=reader.where("tier")),
        description=reader.text("description", ""),
        parameters={name: _parameter(name, inner) for name, inner in reader.mapping("parameters").items()},
        needs=tuple(_need(inner) for inner in reader.items("needs")),
        limits=_limits(reader.section("limits")),
        metrics=tuple(_metric(inner) for inner in reader.items("metrics")),
        requires=_requirements(reader),
        tests=tuple(_test(index, inner) for index, inner in enumerate(reader.items("tests"))),
        commands=_commands(reader),
    )
    reader.finish()
    return manifest


def _matching(reader: Reader, key: str, form: re.Pattern[str], what: str, most: int = 200) -> str:
    value: str = reader.text(key)
    if len(value) > most or not form.fullmatch(value):
        raise reader.fail(key, f"{value!r:.80} is not {what}")
    return value


def _parameter(name: str, reader: Reader) -> Parameter:
    if not _WORD.fullmatch(name):
        raise reader.document_error(f"{name!r:.60} is not a name for a parameter")
    pattern = reader.text("pattern", None)
    if pattern is not None:
        _check_pattern(reader, pattern)
    made = Parameter(
        name=name,
        type=reader.choice("type", PARAMETER_TYPES),
        required=reader.boolean("required", False),
        default=reader.raw("default", None),
        pattern=pattern,
        choices=tuple(reader.sequence("choices", [])),
        minimum=reader.number("minimum", None),
        maximum=reader.number("maximum", None),
        description=reader.text("description", ""),
    )
    reader.finish()
    if made.default is not None:
        try:
            made.check(made.default)
        except ArgumentError as error:
            raise reader.fail("default", error.message) from None
    return made


def _check_pattern(reader: Reader, pattern: str) -> None:
    # The pattern runs in the agent over text that an operator chose: nested repetition could take for ever.
    bare = re.sub(r"\\[^1-9]", "x", pattern)  # without escaped characters
    bare = re.sub(r"\[\^?\]?[^\]]*\]", "x", bare)  # a class is one letter
    repeats = len(re.findall(r"[*+?{]", bare))
    if len(pattern) > 256 or repeats > limits.MAX_PATTERN_REPEATS or re.search(r"[)}*+?][*+?{]|\\[1-9]|\(\?", bare):
        most = limits.MAX_PATTERN_REPEATS
        raise reader.fail(
            "pattern",
            f"only plain patterns: at most {most} repeats, none of a group, no references or look-around",
        )
    try:
        re.compile(pattern)
    except re.error as error:
        raise reader.fail("pattern", f"is not a pattern: {error}") from None


def _need(reader: Reader) -> Need:
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
