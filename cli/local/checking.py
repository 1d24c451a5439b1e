"""What ``outrider script check`` finds by reading a script: problems, each with its place, and remarks. Pure.

A problem is what would keep the script from running as stated: a syntax error, a call that does not exist or is given
wrong arguments, a tier below what its calls need, a call that its own needs leave out, a command that the manifest does
not declare, code whose calls cannot be known, a test that declares what a call never gives. A remark is what a reviewer
would ask about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cli.local.declared_results import misfits
from cli.local.folder import Script
from cli.local.shelf import Shelf
from policies.paths import PathPattern
from policies.reached import tier_of_paths
from protocol import document
from protocol.bundle import MANIFEST
from protocol.errors import ArgumentError, OutriderError
from protocol.manifest import Manifest
from protocol.tiers import Tier
from sandbox.analysis import Analysis, Called, Need, Pinned, Risk, analyse, joined, risks
from stdlib.catalogue import load


@dataclass(frozen=True)
class Finding:
    """One thing to say, and where."""

    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"

    def to_plain(self) -> dict[str, str]:
        """Return it as JSON data."""
        return {"where": self.where, "message": self.message}


@dataclass
class Findings:
    """All that was found."""

    problems: list[Finding] = field(default_factory=list)
    remarks: list[Finding] = field(default_factory=list)
    calls: list[Called] = field(default_factory=list)
    needs: list[Need] = field(default_factory=list)  # what the manifest would have to ask for
    dynamic: list[str] = field(default_factory=list)  # ``main.lua:4: fs is used as a value``
    risks: list[Risk] = field(default_factory=list)
    inferred_tier: Tier | None = (
        None  # None where nothing could be read; the highest it can be where something is dynamic
    )

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {
            "inferred_tier": self.inferred_tier.label if self.inferred_tier is not None else None,
            "inferred_needs": [need.to_plain() for need in self.needs],
            "calls": [called.to_plain() for called in self.calls],
            "dynamic": self.dynamic,
            "risks": [{"code": risk.code, "calls": list(risk.calls), "means": risk.means} for risk in self.risks],
            "problems": [finding.to_plain() for finding in self.problems],
            "remarks": [finding.to_plain() for finding in self.remarks],
        }


def read(script: Script, tables: Sequence[Mapping[str, Any]], shelf: Shelf | None = None) -> Findings:
    """Return what is found by reading ``script``, together with the libraries that it pins.

    Args:
        script: The script.
        tables: Every call there is, as ``Catalogue.tables`` gives them.
        shelf: Has the libraries.
    """
    manifest = script.manifest
    known = {row["name"]: Tier.parse(row["tier"]) for row in tables}
    analysis = analysis_of(script, tables, shelf or Shelf())
    findings = Findings(
        calls=list(analysis.calls.values()), needs=list(analysis.needs), dynamic=list(analysis.dynamic),
        risks=risks(analysis.calls, manifest.needs or analysis.needs),
    )  # fmt: skip
    _code(findings, analysis)
    if not analysis.syntax_errors:
        findings.inferred_tier = _reached(analysis)
    if analysis.is_complete:
        _tier(findings, script, analysis)
        _needs(findings, manifest, analysis, known)
    if not script.is_bare:
        _commands(findings, manifest, analysis)
    _tests(findings, script)
    findings.remarks += [
        Finding(manifest.main, f"{' and '.join(risk.calls)} together: it {risk.means}") for risk in findings.risks
    ]
    return findings


def analysis_of(script: Script, tables: Sequence[Mapping[str, Any]], shelf: Shelf) -> Analysis:
    """Return what reading a script, together with the libraries that it pins, tells of its calls."""
    language, main = script.manifest.language, script.manifest.main
    pinned, missing = _libraries(script, shelf)
    analysis = analyse(language, joined(language, script.files, pinned), main, tables)
    return replace(analysis, dynamic=(*analysis.dynamic, missing), tier=max(Tier)) if missing else analysis


def _libraries(script: Script, shelf: Shelf) -> tuple[list[Pinned], str]:
    """Return the libraries of a script, and what is missing, as the place and what it means."""
    try:
        held = shelf.libraries(script.manifest, script.files).held
    except OutriderError as error:
        return [], f"{MANIFEST}: {error.message}; what it pins cannot be read"
    return [Pinned(item.name, digest, item.main, item.files) for digest, item in sorted(held.items())], ""


def _code(findings: Findings, analysis: Analysis) -> None:
    """Add what is wrong with the code by itself."""
    found = [Finding(place, message) for place, message in (*analysis.syntax_errors, *analysis.wrong)]
    for name, places in analysis.unknown.items():
        like = analysis.suggestions.get(name)
        message = f"there is no call named {name}" + (f"; did you mean {like}?" if like else "")
        found += [Finding(place, message) for place in places]
    for (module, member), places in analysis.absent.items():
        found += [Finding(place, f"the module {module} has no {member} here") for place in places]
    for dynamic in analysis.dynamic:
        place, _, what = dynamic.partition(": ")
        found.append(Finding(place, f"{what}, so nobody can tell which calls it makes"))
    findings.problems += found


def _tier(findings: Findings, script: Script, analysis: Analysis) -> None:
    stated = script.manifest.tier
    if analysis.tier > stated:
        where = script.manifest.main if script.is_bare else f"{MANIFEST}: tier"
        message = f"its calls need {analysis.tier.label}, it states {stated.label}"
        findings.problems.append(Finding(where, message))
    elif not script.is_bare and (reached := _reached(analysis)) != stated:
        needed = f"{reached.label} only" if reached < stated else f"{reached.label} where they reach"
        findings.remarks.append(Finding(f"{MANIFEST}: tier", f"its calls need {needed}, it states {stated.label}"))


def _reached(analysis: Analysis) -> Tier:
    """Return the lowest tier that covers the calls and lets them reach the paths that the code names."""
    return max(analysis.tier, tier_of_paths((need.call, need.paths) for need in analysis.needs))


def _needs(findings: Findings, manifest: Manifest, analysis: Analysis, known: Mapping[str, Tier]) -> None:
    if not manifest.needs:
        return
    patterns = [need.call for need in manifest.needs]
    for call, called in analysis.calls.items():
        if known[call] is not Tier.COMPUTE and not any(_covers(pattern, call) for pattern in patterns):
            findings.problems += [Finding(place, f"calls {call}, which its needs leave out") for place in called.places]
    _paths(findings, manifest, analysis)
    for pattern in patterns:
        if not any(_covers(pattern, call) for call in known):
            findings.problems.append(Finding(f"{MANIFEST}: needs", f"there is no call named {pattern}"))
        elif not any(_covers(pattern, call) for call in analysis.calls):
            findings.remarks.append(Finding(f"{MANIFEST}: needs", f"asks for {pattern}, which it never calls"))


def _paths(findings: Findings, manifest: Manifest, analysis: Analysis) -> None:
    """Remark on constant paths that no need covers; only a remark, as a need is about what a path leads to."""
    for inferred in analysis.needs:
        stated = [need for need in manifest.needs if _covers(need.call, inferred.call)]
        if not stated or any(not need.paths for need in stated):
            continue
        patterns = [PathPattern.parse(path, where=f"{MANIFEST}: needs") for need in stated for path in need.paths]
        for path in inferred.paths:
            if "{" not in path and not any(pattern.matches(path) for pattern in patterns):
                message = f"{inferred.call} is given {path}, which the paths of its need leave out"
                findings.remarks.append(Finding(f"{MANIFEST}: needs", message))


def _commands(findings: Findings, manifest: Manifest, analysis: Analysis) -> None:
    for inferred in analysis.needs:
        for name in inferred.commands:
            if "{" not in name and name not in manifest.commands:
                message = f"the command {name!r:.60} of {inferred.call} is not declared"
                findings.problems.append(Finding(f"{MANIFEST}: commands", message))


def _covers(pattern: str, call: str) -> bool:
    return pattern in ("*", call) or (pattern.endswith(".*") and call.startswith(pattern[:-1]))


def _tests(findings: Findings, script: Script) -> None:
    manifest = script.manifest
    if not manifest.tests:
        return
    calls = {spec.name: spec for spec in load()}  # those of the sandbox itself, too
    written = document.load(script.files[MANIFEST].decode(), MANIFEST)
    for number, test in enumerate(manifest.tests):
        where = f"{MANIFEST}: tests[{number}]"
        for call, given in test.calls.items():
            spec = calls.get(call)
            wrong = [((), f"there is no call named {call}")] if spec is None else misfits(spec, given)
            findings.problems += [
                Finding(written.where(("tests", number, "calls", call, *path)), message) for path, message in wrong
            ]
        for key in sorted(set(test.expect) - {"status", "state", "result", "metrics"}):
            message = f"unknown key {key!r} (known: metrics, result, state, status)"
            findings.problems.append(Finding(f"{where}.expect", message))
        try:
            manifest.check_parameters(test.parameters)
        except ArgumentError as error:
            findings.problems.append(Finding(f"{where}.parameters", error.message))
