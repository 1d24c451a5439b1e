"""``outrider review``: read what a script would be able to do, then approve that digest for a tier, or reject it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from cli import proving
from cli.ages import rfc3339
from cli.identities import REVIEW
from cli.invocation import Invocation, pass_invocation
from cli.lazy import Group
from cli.leaf import ServerCommand, key_option
from cli.nouns import review_check, review_comment, review_revoke, review_try
from cli.reviews import DECIDED, QUEUE, describe
from cli.values import ask_whom, segment, sure
from policies.paths import PathPattern
from policies.targets import TargetPattern
from protocol.errors import ArgumentError
from protocol.tiers import Tier
from protocol.units import parse_duration

if TYPE_CHECKING:
    from protocol.bundle import Bundle


@click.group(cls=Group)
def noun() -> None:
    """Read what a script may do; approve or reject it."""


@noun.command("ls", cls=ServerCommand)
@click.option("--state", type=click.Choice(["open", "approved", "rejected", "all"]), default="open", show_default=True)
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@pass_invocation
def ls(invocation: Invocation, state: str, limit: int) -> None:
    """List what waits for a reviewer, what each asks for that was not approved before, and what is risky together.

    \b
    Examples:
      outrider review ls
      outrider review ls --state all --json
    """
    found = invocation.api.items("reviews", limit=limit, state=None if state == "all" else state)
    columns = QUEUE if state == "open" else (*QUEUE, *DECIDED)
    invocation.output.table(found, columns, empty="nothing waits for review")


@noun.command("show", cls=ServerCommand)
@click.argument("review", type=REVIEW)
@pass_invocation
def show(invocation: Invocation, review: str) -> None:
    """Show what a version may do that the last approved one may not, its risks, the calls in its code, and the code.

    Of the code the difference to the last approved version is shown, or all of it if there is none.

    \b
    Example:
      outrider review show 6f1d0a9b2c3e
    """
    found = whole(invocation, review)
    if invocation.as_json:
        invocation.output.data(found)
    else:
        describe(invocation.output, found)


def whole(invocation: Invocation, review: str) -> dict[str, Any]:
    """Return a review with its code, proved to be that of its digest."""
    found, bundle = proved(invocation, review)
    return _with_code_before(invocation, found, bundle)


def _with_code_before(invocation: Invocation, found: dict[str, Any], bundle: Bundle) -> dict[str, Any]:
    previous = found.get("previous")
    before = None if previous is None else proving.of_script(invocation.api, bundle.manifest.name, str(previous))
    return with_code(found, bundle, before)


def proved(invocation: Invocation, review: str, digest: str | None = None) -> tuple[dict[str, Any], Bundle]:
    """Return a review as the server tells it, and the bundle that it is about, which is what it is told to be."""
    found: dict[str, Any] = invocation.api.get(f"reviews/{segment(review)}")
    bundle = proving.of_review(invocation.api, review)
    proving.require_same(found, bundle, digest)
    return found, bundle


def with_code(found: dict[str, Any], bundle: Bundle, before: Bundle | None) -> dict[str, Any]:
    """Return a review with its code, or with its difference to ``before``, read from the bundles themselves."""
    from protocol.code_parts import parts, texts  # only who looks at code pays for it

    code = list(parts(None if before is None else texts(before), texts(bundle)))
    return found | {"code": code, "previous_digest": None if before is None else before.digest}


@key_option
@noun.command("approve", cls=ServerCommand)
@click.argument("review", type=REVIEW)
@click.option("--tier", metavar="TIER", help="Approve for this tier  [default: the one it asks for]")
@click.option("--paths", multiple=True, metavar="GLOB", help="Narrow it to these paths; may be repeated.")
@click.option("--commands", multiple=True, metavar="NAME", help="Narrow it to these commands; may be repeated.")
@click.option(
    "--targets", multiple=True, metavar="TARGET", help="Narrow it to these hosts or networks; may be repeated."
)
@click.option(
    "--label", "labels", multiple=True, metavar="K=V",
    help="Only on hosts whose owner says so in the ceiling; may be repeated.",
)  # fmt: skip
@click.option("--expires", default="90d", show_default=True, metavar="DURATION", help="The approval ends after this.")
@click.option("--reason", required=True, metavar="TEXT", help="Why, such as a change number; it is on the record.")
@click.option("--digest", metavar="SHA256", help="Only if it is this one, such as the one that `review check` told.")
@click.option("--yes", is_flag=True, help="Do not show it and ask first.")
@pass_invocation
def approve(
    invocation: Invocation, review: str, tier: str | None, paths: tuple[str, ...], commands: tuple[str, ...],
    targets: tuple[str, ...], labels: tuple[str, ...], expires: str, reason: str, digest: str | None, yes: bool,
) -> None:  # fmt: skip
    """Show a review, ask, and sign the approval with your own key.

    What you sign is what you are shown: the code is read from the bundle that has the digest.

    \b
    Examples:
      outrider review approve 6f1d0a9b2c3e --reason CHG-118
      outrider review approve 6f1d0a9b2c3e --paths '/etc/nginx/**' --expires 30d --reason CHG-119
      outrider review approve 6f1d0a9b2c3e --label role=mail --reason CHG-120
    """
    ask_whom(invocation, yes)
    found, bundle = proved(invocation, review, digest)
    manifest = bundle.manifest
    if not yes:
        if not invocation.as_json:
            describe(invocation.output, _with_code_before(invocation, found, bundle))
        sure(invocation, f"Approve {manifest.name} {manifest.version} for {tier or manifest.tier.label}?", yes)
    granted = Tier.parse(tier, where="--tier") if tier else manifest.tier
    now = datetime.now(UTC)
    body = {
        "type": "approval", "name": manifest.name, "version": manifest.version, "digest": bundle.digest,
        "tier": granted.label, "grant": grant(found, paths, commands, targets) | on_hosts(labels),
        "issued": rfc3339(now),
        "expires": rfc3339(now + timedelta(seconds=parse_duration(expires, where="--expires"))), "reason": reason,
    }  # fmt: skip
    envelope = _sign(invocation, body)
    answer = invocation.api.post(f"reviews/{segment(review)}/approve", {"approval": envelope})
    if invocation.as_json:
        invocation.output.data(answer)
    else:
        invocation.output.say(
            f"approved {manifest.name} {manifest.version} for {granted.label} until {body['expires']}"
        )
        for warning in answer.get("warnings") or []:
            invocation.output.say(f"warning: {warning}")


def on_hosts(labels: tuple[str, ...]) -> dict[str, Any]:
    """Return the part of a grant that says on which hosts an approval counts; nothing if it is all.

    Raises:
        ArgumentError: Not of the form key=value.
    """
    told: dict[str, str] = {}
    for text in labels:
        key, equals, value = text.partition("=")
        if not equals or not key or not value:
            raise ArgumentError(f"{text!r:.80} is not of the form key=value", where="--label")
        told[key] = value
    return {"labels": told} if told else {}


def grant(
    review: dict[str, Any], paths: tuple[str, ...], commands: tuple[str, ...], targets: tuple[str, ...]
) -> dict[str, Any]:
    """Return what the approval narrows the script to; nothing narrowed is an empty grant.

    Paths narrow the calls that take a path, commands those that take a command and targets those that reach into the
    network; every other call that the code makes stays as its tier allows. A target such as 127.0.0.1:6379 that must be
    named is granted by this.

    Raises:
        ArgumentError: A path or target is no pattern, or there is no call that it could narrow.
    """
    if not paths and not commands and not targets:
        return {}
    from stdlib.catalogue import load  # loads every family of calls

    catalogue = load()
    specs = [spec for call in sorted(review.get("calls") or []) if (spec := catalogue.find(call)) is not None]
    with_path = {spec.name for spec in specs if any(item.is_path for item in spec.parameters)}
    with_command = {spec.name for spec in specs if spec.command is not None}
    with_target = {spec.name for spec in specs if spec.has_target}
    for given, calls, what in (
        (paths, with_path, "path"), (commands, with_command, "command"), (targets, with_target, "target"),
    ):  # fmt: skip
        if given and not calls:
            raise ArgumentError(f"the script makes no call that takes a {what}", where=f"--{what}s")
    for text in paths:
        PathPattern.parse(text, where="--paths")
    for text in targets:
        TargetPattern.parse(text, where="--targets")
    return {
        "allow": [
            {"call": spec.name}
            | ({"paths": list(paths)} if paths and spec.name in with_path else {})
            | ({"commands": list(commands)} if commands and spec.name in with_command else {})
            | ({"targets": list(targets)} if targets and spec.name in with_target else {})
            for spec in specs
        ]
    }


def _sign(invocation: Invocation, body: dict[str, Any]) -> dict[str, Any]:
    from protocol.signing import sign  # loads the cryptography library

    return dict(json.loads(sign("approval", body, invocation.signing_key()).to_json()))


@noun.command("reject", cls=ServerCommand)
@click.argument("review", type=REVIEW)
@click.option("--reason", required=True, metavar="TEXT", help="Why; the author reads it.")
@pass_invocation
def reject(invocation: Invocation, review: str, reason: str) -> None:
    """Reject a review, with the reason.

    \b
    Example:
      outrider review reject 6f1d0a9b2c3e --reason "writes what it runs"
    """
    answer = invocation.api.post(f"reviews/{segment(review)}/reject", {"reason": reason})
    if invocation.as_json:
        invocation.output.data(answer)
    else:
        invocation.output.say(f"rejected {review}")


noun.add_command(review_check.noun)
noun.add_command(review_comment.noun)
noun.add_command(review_revoke.noun)
noun.add_command(review_try.noun)
