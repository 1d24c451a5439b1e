"""``outrider roster``: the root-signed list of keys: who may publish where, review up to which tier, operate what."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli import rosters
from cli.invocation import Invocation, pass_invocation
from cli.lazy import Group
from cli.leaf import LocalCommand, ServerCommand, key_option
from cli.output import Column, counted, field
from protocol.errors import ArgumentError

if TYPE_CHECKING:  # the cryptography library is loaded by the commands that need it
    from protocol.roster import Roster
    from protocol.signing import Envelope

ROLE_WORDS = ("role", "namespace", "tier")
FILE = click.Path(path_type=Path, dir_okay=False)


def roles(entry: dict[str, Any]) -> str:
    """Return the roles of one key as text."""
    return ", ".join(" ".join(str(role[word]) for word in ROLE_WORDS if role.get(word)) for role in entry["roles"])


def end(entry: dict[str, Any]) -> str:
    """Return when a key ends and how."""
    named = [(word, entry.get(word)) for word in ("revoked", "retired", "expires")]
    return ", ".join(f"{word} {moment}" for word, moment in named if moment)


COLUMNS = (field("name", "name"), Column("roles", roles), Column("end", end), field("key", "key"))


@click.group(cls=Group)
def noun() -> None:
    """The signed list of keys and roles."""


@noun.command("sign", cls=LocalCommand)
@click.argument("file", type=FILE)
@click.option("--add", is_flag=True, help="FILE is signed by others already; add a signature to it, in place.")
@click.option("--before", metavar="FILE", type=FILE, help="The roster before it: show what changes, count its roots.")
@click.option(
    "--out", metavar="FILE", type=click.Path(path_type=Path), help="Where to write it [default: FILE with .json]"
)
@pass_invocation
def sign(invocation: Invocation, file: Path, add: bool, before: Path | None, out: Path | None) -> None:
    """Sign a roster with a root key, on a machine without a network: a description in YAML, or what others signed.

    \b
    The description:
      version: 2                 # one more than the last
      expires: 365d              # or a moment: 2027-06-01T00:00:00Z
      roots: {threshold: 1, keys: ["ed25519:..."]}
      reviewers: {operate: 2}    # people who must approve, from that tier on; may be left out
      keys:
        - {name: mia, key: "ed25519:...", roles: [{role: author, namespace: checks}]}
        - {name: tom, key: "ed25519:...", roles: [{role: reviewer, tier: inspect}]}
    \b
    Two roots of three, each on a machine of their own:
      ana$  outrider roster sign roster.yaml --key root-ana --before roster-6.json
      ben$  outrider roster sign roster.json --add --key root-ben --before roster-6.json
    Copies that were signed side by side are put together by `outrider roster gather`.
    """
    from cli import roster_signing

    older = _read(before) if before else None
    earlier = _roster(older) if older else None
    if add:
        envelope = roster_signing.add(_read(file), invocation.signing_key(), earlier)
    else:
        envelope = rosters.sign_file(file, invocation.signing_key(), datetime.now(UTC))
    target = out or (file if add else file.with_suffix(".json"))
    state = roster_signing.standing(envelope, earlier)
    _show_changes(invocation, earlier, state.roster)
    target.write_text(envelope.to_json() + "\n", encoding="utf-8")
    _told(invocation, target, envelope, state)


key_option(sign)


@noun.command("gather", cls=LocalCommand)
@click.argument("files", nargs=-1, required=True, type=FILE)
@click.option("--before", metavar="FILE", type=FILE, help="The roster before it: count its roots too.")
@click.option("--out", metavar="FILE", required=True, type=click.Path(path_type=Path), help="Where to.")
@pass_invocation
def gather(invocation: Invocation, files: tuple[Path, ...], before: Path | None, out: Path) -> None:
    """Put the signatures of copies together that several root holders signed.

    \b
    Example:
      outrider roster gather from-ana.json from-ben.json --before roster-6.json --out roster-7.json
    """
    from cli import roster_signing

    envelope = roster_signing.gather([_read(file) for file in files])
    state = roster_signing.standing(envelope, _roster(_read(before)) if before else None)
    out.write_text(envelope.to_json() + "\n", encoding="utf-8")
    _told(invocation, out, envelope, state)


@noun.command("check", cls=LocalCommand)
@click.argument("file", type=FILE)
@click.option("--before", metavar="FILE", type=FILE, help="The roster that hosts have now; else FILE is their first.")
@pass_invocation
def check(invocation: Invocation, file: Path, before: Path | None) -> None:
    """Say whether hosts would take the roster in FILE, without a server; exit status 3 if they would not.

    \b
    Example:
      outrider roster check roster-7.json --before roster-6.json
    """
    from cli import roster_signing

    roster = roster_signing.check(_read(file), _read(before) if before else None, datetime.now(UTC))
    if invocation.as_json:
        invocation.output.data({"version": roster.version, "ok": True})
    else:
        invocation.output.say(f"ok: hosts take roster version {roster.version}")


@noun.command("show", cls=ServerCommand)
@click.argument("file", required=False, type=FILE)
@pass_invocation
def show(invocation: Invocation, file: Path | None) -> None:
    """Show the server's roster, or the one in FILE: its roots, who signed it, and who may do what.

    \b
    Examples:
      outrider roster show
      outrider roster show roster-3.json
    """
    from cli import roster_signing
    from cli.roster_changes import key_text, table_text

    text = file_text(file) if file else json.dumps(invocation.api.get("roster").get("envelope"))
    where = str(file or "the server's roster")
    body = rosters.read_body(text, where)
    if invocation.as_json:
        invocation.output.data(body)
        return
    state = roster_signing.standing(roster_signing.read(text, where), None)
    root_keys: dict[str, Any] = body["roots"]
    facts = {name: body[name] for name in ("version", "issued", "expires")}
    signed = [key_text(key) for key_id, key in state.roster.roots.items() if key_id in state.good]
    more = {
        "roots": f"{root_keys['threshold']} of {len(root_keys['keys'])} must sign",
        "signed by": f"{', '.join(signed) or 'no root'}"
        + (f" ({counted(state.missing_own, 'signature')} missing)" if state.missing_own else ""),
        "reviewers": table_text(state.roster.reviewers_needed),
    }
    withdrawn = {"withdrawn": ", ".join(sorted(state.roster.withdrawn))} if state.roster.withdrawn else {}
    invocation.output.facts({**facts, **more, **withdrawn})
    invocation.output.line()
    invocation.output.table(body["keys"], COLUMNS)


@noun.command("diff", cls=ServerCommand)
@click.argument("files", nargs=-1, required=True, type=FILE)
@pass_invocation
def diff(invocation: Invocation, files: tuple[Path, ...]) -> None:
    """Show what a roster changes: FILE over the server's, or the second FILE over the first.

    \b
    Examples:
      outrider roster diff roster-7.json
      outrider roster diff roster-6.json roster-7.json
    """
    from cli import roster_signing
    from cli.roster_changes import compare

    if len(files) > 2:
        raise ArgumentError("one or two files are compared", where="FILES")
    if len(files) == 1:
        held = json.dumps(invocation.api.get("roster").get("envelope"))
        before = _roster(roster_signing.read(held, "the server's roster"))
    else:
        before = _roster(_read(files[0]))
    changes = compare(before, _roster(_read(files[-1])))
    if invocation.as_json:
        invocation.output.data([change.to_plain() for change in changes])
        return
    for change in changes:
        invocation.output.line(str(change))
    if not changes:
        invocation.output.say("they say the same")


@noun.command("push", cls=ServerCommand)
@click.argument("file", type=FILE)
@pass_invocation
def push(invocation: Invocation, file: Path) -> None:
    """Hand a signed roster to the server; the first one pins the roots.

    \b
    Example:
      outrider roster push roster-3.json
    """
    text = rosters.read_text(file)
    rosters.read_body(text, str(file))  # what is no roster is refused here, with the place
    answer = invocation.api.put("roster", {"envelope": json.loads(text)})
    if invocation.as_json:
        invocation.output.data(answer)
    else:
        invocation.output.say(f"the server holds roster version {answer.get('version')}")


def file_text(path: Path) -> str:
    """Return the text of a roster's file; raises as ``rosters.read_text``."""
    return rosters.read_text(path)


def _read(path: Path) -> Envelope:
    from cli import roster_signing

    return roster_signing.read(rosters.read_text(path), str(path))


def _roster(envelope: Envelope) -> Roster:
    from protocol.roster import parse
    from protocol.signing import peek

    return parse(peek(envelope))


def _show_changes(invocation: Invocation, before: Roster | None, after: Roster) -> None:
    """Tell whoever signs what they sign."""
    from cli.roster_changes import compare

    if before is None or invocation.as_json:
        return
    for change in compare(before, after):
        invocation.output.say(str(change))


def _told(invocation: Invocation, target: Path, envelope: Envelope, state: Any) -> None:
    if invocation.as_json:
        invocation.output.data(
            {
                "file": str(target), "signatures": len(envelope.signatures), "complete": state.is_complete,
                "missing": state.missing_own, "missing_before": state.missing_before,
            }
        )  # fmt: skip
        return
    signed = counted(len(envelope.signatures), "signature")
    if state.is_complete:
        following = f"next: outrider roster push {target}"
    else:
        wanted = [(state.missing_own, "its own"), (state.missing_before or 0, "the former")]
        following = "missing: " + ", ".join(f"{count} of {whose} roots" for count, whose in wanted if count)
    invocation.output.say(f"wrote {target} with {signed}   ({following})")
