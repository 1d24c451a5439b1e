"""``outrider review check``: fetch a version, prove what it is, read it and run its tests, all on this machine."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from cli import exits, proving
from cli.identities import REVIEW
from cli.invocation import Invocation, pass_invocation
from cli.leaf import ServerCommand
from cli.output import counted, field
from cli.values import segment

TESTS = (field("test", "name"), field("result", "result"), field("difference", "differences"))
MAX_COMMENT_CHARACTERS = 4000  # server.api.bodies.NewComment


@click.command("check", cls=ServerCommand)
@click.argument("review", type=REVIEW)
@click.option(
    "--roster", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False),
    help="A signed roster to prove its author by  [default: the server's]",
)  # fmt: skip
@click.option("--comment", is_flag=True, help="Say what came of it on the review: in a comment, and in the queue.")
@pass_invocation
def noun(invocation: Invocation, review: str, roster: Path | None, comment: bool) -> None:
    """Check a version on this machine: its digest, its author, its calls, and its tests in the real sandbox.

    The server runs nothing, and what an author says about tests proves nothing: whoever reviews runs them. Nothing of
    it touches this host: in a test only the calls that it names have results.

    \b
    Examples:
      outrider review check 6f1d0a9b2c3e
      outrider review check 6f1d0a9b2c3e --roster roster-7.json --comment
    """
    from cli.local.checking import read  # loads the languages; --help does without
    from cli.local.folder import Script
    from cli.local.shelf import Shelf
    from cli.local.testing import run_tests
    from stdlib.catalogue import load

    told = invocation.api.get(f"reviews/{segment(review)}/bundle")
    bundle = proving.bundle_of(told)
    author = _prove(invocation, told, bundle, roster)
    shelf = Shelf(proving.unpacked(each) for each in told["libraries"])
    script = Script(bundle.manifest, dict(bundle.files), is_bare=False)
    findings = read(script, load().tables(), shelf)
    tests = [] if findings.problems else asyncio.run(run_tests(script, shelf))
    is_ok = not findings.problems and all(test["result"] == "ok" for test in tests)
    found = {
        "ok": is_ok, "name": bundle.manifest.name, "version": bundle.manifest.version, "digest": bundle.digest,
        "author": author, "tier": bundle.manifest.tier.label, **findings.to_plain(), "tests": tests,
    }  # fmt: skip
    if comment:
        said = {"text": summary(found)[:MAX_COMMENT_CHARACTERS], "place": f"check: {'passed' if is_ok else 'failed'}"}
        invocation.api.post(f"reviews/{segment(review)}/comments", said)
    _show(invocation, found)
    if is_ok and not invocation.as_json:
        how = f"outrider review approve {review} --digest {bundle.digest}"
        invocation.output.say(f"to approve this and nothing else: {how}")
    invocation.exit(exits.OK if is_ok else exits.FAILURE)


def _prove(invocation: Invocation, told: dict[str, Any], bundle: Any, path: Path | None) -> str:
    """Return who published the bundle, after checking that it is what its author signed."""
    import json

    from cli import roster_signing, rosters
    from protocol.errors import TrustError
    from protocol.roster import parse
    from protocol.signing import Envelope, peek
    from protocol.trust import check_publication

    text = rosters.read_text(path) if path else json.dumps(invocation.api.get("roster").get("envelope"))
    envelope = roster_signing.read(text, str(path or "the server's roster"))
    roster = parse(peek(envelope))
    state = roster_signing.standing(envelope, None)
    if state.missing_own:
        raise TrustError("the roster is not signed by enough of its own roots", reason="unknown_key")
    published, authors = check_publication(Envelope.from_json(told["publication"]), roster, datetime.now(UTC))
    if published.digest != bundle.digest:
        raise TrustError(f"the publication is about {published.digest}, not {bundle.digest}", reason="wrong_digest")
    return ", ".join(sorted({roster.name_of(key_id) or "?" for key_id in authors}))


def summary(found: dict[str, Any]) -> str:
    """Return what came of a check in a few lines."""
    failed = [test for test in found["tests"] if test["result"] != "ok"]
    lines = [
        f"checked {found['digest']}: {'ok' if found['ok'] else 'failed'}, inferred tier {found['inferred_tier']},"
        f" {counted(len(found['tests']), 'test')}, {len(failed)} failed"
    ]
    lines += [f"{finding['where']}: {finding['message']}" for finding in found["problems"]]
    lines += [f"{test['name']}: {'; '.join(map(str, test['differences']))}" for test in failed]
    return "\n".join(lines)


def _show(invocation: Invocation, found: dict[str, Any]) -> None:
    output = invocation.output
    if output.as_json:
        output.data(found)
        return
    for kind in ("problems", "remarks"):
        for finding in found[kind]:
            output.line(f"{finding['where']}: {finding['message']}{'' if kind == 'problems' else '  (remark)'}")
    for called in found["calls"]:
        output.line(f"{called['call']}  {called['tier']}")
    if found["tests"]:
        output.table(found["tests"], TESTS)
    word = "ok    " if found["ok"] else "failed"
    inferred = found["inferred_tier"] or "unknown"
    output.say(
        f"{word}  {found['name']} {found['version']} by {found['author']}  tier {found['tier']}, inferred {inferred}"
        f"  {counted(len(found['tests']), 'test')}"
    )
