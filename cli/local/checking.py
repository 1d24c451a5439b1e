"""What ``outrider script check`` finds by reading a script: problems, each with its place, and remarks. Pure.

A problem is what would keep the script from running as stated: a syntax error, a call that does not exist, a tier below
what its calls need, a call that its own needs leave out, code whose calls cannot be known. A remark is what a
reviewer would ask about.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cli.local.folder import MANIFEST, Script
from protocol.errors import ArgumentError
from protocol.manifest import Manifest
from protocol.tiers import Tier
from sandbox.analysis import Analysis, analyse


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
    calls: list[str] = field(default_factory=list)
    inferred_tier: Tier | None = None  # None where reading cannot tell

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {
            "inferred_tier": self.inferred_tier.label if self.inferred_tier is not None else None,
            "calls": self.calls,
            "problems": [finding.to_plain() for finding in self.problems],
            "remarks": [finding.to_plain() for finding in self.remarks],
        }


def read(script: Script, known: Mapping[str, Tier]) -> Findings:
    """Return what is found by reading ``script``.

    Args:
        script: The script.
        known: Every call there is, with its tier.
    """
    manifest = script.manifest
    analysis = analyse(manifest.language, script.files, manifest.main, known)
    findings = Findings(calls=sorted(analysis.calls))
    for place, message in analysis.syntax_errors:
        findings.problems.append(Finding(place, message))
    for name, places in sorted(analysis.unknown.items()):
        findings.problems += [Finding(place, f"there is no call named {name}") for place in places]
    for dynamic in analysis.dynamic:
        place, _, what = dynamic.partition(": ")
        findings.problems.append(Finding(place, f"{what}, so nobody can tell which calls it makes"))
    if analysis.is_complete:
        findings.inferred_tier = analysis.tier
        _tier(findings, script, analysis)
        _needs(findings, manifest, analysis, known)
    _tests(findings, manifest, known)
    return findings


def _tier(findings: Findings, script: Script, analysis: Analysis) -> None:
    stated = script.manifest.tier
    if analysis.tier > stated:
        where = script.manifest.main if script.is_bare else f"{MANIFEST}: tier"
        message = f"its calls need {analysis.tier.label}, it states {stated.label}"
        findings.problems.append(Finding(where, message))
    elif analysis.tier < stated and not script.is_bare:
        message = f"its calls need {analysis.tier.label} only, it states {stated.label}"
        findings.remarks.append(Finding(f"{MANIFEST}: tier", message))


def _needs(findings: Findings, manifest: Manifest, analysis: Analysis, known: Mapping[str, Tier]) -> None:
    if not manifest.needs:
        return
    patterns = [need.call for need in manifest.needs]
    for call, places in analysis.calls.items():
        if known[call] is not Tier.COMPUTE and not any(_covers(pattern, call) for pattern in patterns):
            findings.problems += [Finding(place, f"calls {call}, which its needs leave out") for place in places]
    for pattern in patterns:
        if not any(_covers(pattern, call) for call in known):
            findings.problems.append(Finding(f"{MANIFEST}: needs", f"there is no call named {pattern}"))
        elif not any(_covers(pattern, call) for call in analysis.calls):
            findings.remarks.append(Finding(f"{MANIFEST}: needs", f"asks for {pattern}, which it never calls"))


def _covers(pattern: str, call: str) -> bool:
    return pattern in ("*", call) or (pattern.endswith(".*") and call.startswith(pattern[:-1]))


def _tests(findings: Findings, manifest: Manifest, known: Mapping[str, Tier]) -> None:
    for number, test in enumerate(manifest.tests):
        where = f"{MANIFEST}: tests[{number}]"
        for call in sorted(set(test.calls) - set(known)):
            findings.problems.append(Finding(f"{where}.calls", f"there is no call named {call}"))
        for key in sorted(set(test.expect) - {"status", "state", "result", "metrics"}):
            message = f"unknown key {key!r} (known: metrics, result, state, status)"
            findings.problems.append(Finding(f"{where}.expect", message))
        try:
            manifest.check_parameters(test.parameters)
        except ArgumentError as error:
            findings.problems.append(Finding(f"{where}.parameters", error.message))
