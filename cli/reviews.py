"""How a review reads: one line of it in a list, and all of it: what it may do first, then the code."""

from __future__ import annotations

import shutil
from itertools import groupby
from typing import Any

from cli import side_by_side
from cli.ages import day, since
from cli.grants import narrowed
from cli.output import Column, Output, field, plain

NOT_READ = "not read yet"  # after an upgrade a list reads only some of the versions each time
NOTHING_BEFORE = "nothing: no version of it is approved"
MAX_SHOWN = 3  # changes of one review in the list; --json has more, review show all
MAX_SHOWN_CHARACTERS = 60  # of each


def since_approved(review: dict[str, Any]) -> str:
    """Return what a version gained over the one that was approved before, such as ``+ fs.write /etc/**``."""
    about = review.get("since_approved")
    if about is None:
        return NOT_READ
    if about.get("previous") is None:
        return "new"
    return gained(about)


def gained(about: dict[str, Any]) -> str:
    """Return the first gains in a few words, and how many more there are."""
    texts = list(about.get("gained") or [])
    hidden = max(0, len(texts) - MAX_SHOWN) + int(about.get("more") or 0)
    shown = [text if len(text) <= MAX_SHOWN_CHARACTERS else f"{text[: MAX_SHOWN_CHARACTERS - 3]}..." for text in texts]
    return ", ".join([*shown[:MAX_SHOWN], *([f"and {hidden} more"] if hidden else [])])


def risks_in_short(review: dict[str, Any]) -> str:
    """Return the risks of a version in a few words."""
    if review.get("risks") is None:
        return NOT_READ
    return ", ".join(str(risk.get("short")) for risk in review.get("risks") or [])


def checked(review: dict[str, Any]) -> str:
    """Return what somebody says came of checking a version, such as ``passed (bob)``; empty if nobody does."""
    told = review.get("checked")
    return "" if told is None else f"{'passed' if told.get('passed') else 'failed'} ({plain(told.get('by'))})"


QUEUE = (
    field("id", "id"),
    field("script", "script"),
    field("version", "version"),
    field("tier", "tier"),
    field("by", "author"),
    Column("since approved", since_approved),
    Column("risk", risks_in_short),
    Column("checked", checked),
)
DECIDED = (
    field("state", "state"),
    Column("since", lambda review: since(review.get("decided") or review.get("created"))),
    field("decided by", "decided_by"),
    field("reason", "reason"),
)


def describe(output: Output, review: dict[str, Any]) -> None:
    """Write a review for a person: what it may do first, then the code or its change."""
    output.line(f"{review.get('script')} {review.get('version')}  {review.get('digest')}")
    for name in ("tier", "author", "inferred_tier", "state", "decided_by", "reason"):
        if review.get(name) is not None:
            output.line(f"{name.replace('_', ' '):<14} {plain(review[name])}")
    if review.get("reviewers") is not None:
        output.line(f"{'approvals':<14} {len(review.get('approved_by') or [])} of {review['reviewers']}")
    _section(output, "approved by", [approver_text(each) for each in review.get("approved_by") or []])
    previous = review.get("previous")
    compared = f"{previous}  {review.get('previous_digest') or ''}".rstrip() if previous else NOTHING_BEFORE
    output.line(f"{'compared with':<14} {compared}")
    _section(output, "permissions", changes_text(review))
    _section(output, "risks", [risk_text(risk) for risk in review.get("risks") or []])
    calls = [f"{each['call']}  {each['tier']}  {', '.join(each['places'])}" for each in review.get("inferred") or []]
    _section(output, "calls", calls)
    _section(output, "needs", [need_text(need) for need in review.get("needs") or []])
    _section(output, "inferred needs", [need_text(need) for need in review.get("inferred_needs") or []])
    for name in ("dynamic", "unknown", "wrong"):
        _section(output, name, review.get(name) or [])
    tests = review.get("tests") or []
    output.line(f"{'tests':<14} {plain(tests) if tests else 'none'}")
    output.line(f"{'checked':<14} {checked(review) or 'by nobody: outrider review check ID --comment'}")
    _section(output, "history", [_event(event) for event in review.get("history") or []])
    _section(output, "comments", [comment_text(each) for each in review.get("comments") or []])
    show_code(output, review.get("code") or [])


def _section(output: Output, name: str, lines: list[str]) -> None:
    for place, line in enumerate(lines):
        output.line(f"{'' if place else name:<14} {plain(line)}")


def approver_text(approval: dict[str, Any]) -> str:
    """Return one person's approval in a line."""
    narrowing = narrowed(approval.get("grant"))
    said = [f"{approval.get('name')} for {approval.get('tier')} until {day(approval.get('expires'))}"]
    return "  ".join([*said, *([f"narrowed to {narrowing}"] if narrowing else []), str(approval.get("reason"))])


def comment_text(comment: dict[str, Any]) -> str:
    """Return a comment in a line."""
    place = f" at {comment['place']}" if comment.get("place") else ""
    return f"{day(comment.get('time'))} {comment.get('by')}{place}: {comment.get('text')}"


def changes_text(found: dict[str, Any]) -> list[str]:
    """Return the differences of the permissions, one a line."""
    more = found.get("more_changes")
    return [*(_change(change) for change in found.get("changes") or []), *([f"and {more} more"] if more else [])]


def _change(change: dict[str, Any]) -> str:
    """Return one change, and what it replaces."""
    was = change.get("before") if change.get("now") else ""
    return f"{change.get('text')}{f'  (before: {was})' if was else ''}"


def risk_text(risk: dict[str, Any]) -> str:
    """Return a risk with its reason."""
    calls, paths = risk.get("calls") or [], risk.get("paths") or []
    return f"{' and '.join(calls) or 'it'}{f' ({plain(paths)})' if paths else ''}: {risk.get('means')}"


def need_text(need: dict[str, Any]) -> str:
    """Return a need in one line."""
    held = [f"{key}: {', '.join(need[key])}" for key in ("paths", "commands", "targets", "names") if need.get(key)]
    return "  ".join([str(need.get("call")), *held, *([] if need.get("bounded", True) else ["and others"])])


def _event(event: dict[str, Any]) -> str:
    said = [day(event.get("time")), event.get("what"), event.get("version"), f"by {event.get('by') or 'unknown'}"]
    said += [f"on {event['host']}: {event.get('status')}, run {event.get('run')}"] if event.get("host") else []
    said += [f"for {event['tier']}"] if event.get("tier") and event.get("what") == "approved" else []
    said += [f"until {day(event['expires'])}"] if event.get("expires") else []
    said += ["narrowed"] if event.get("grant") else []
    return " ".join(map(str, said)) + (f": {event['reason']}" if event.get("reason") else "")


def show_code(output: Output, parts: list[dict[str, Any]]) -> None:
    """Write files, or their differences: side by side on a terminal that is wide enough, else unified."""
    columns = shutil.get_terminal_size().columns
    if output.on_terminal and columns >= side_by_side.MIN_COLUMNS:
        _show_side_by_side(output, parts, columns)
        return
    for part in parts:
        _name_file(output, part)
        output.read(str(part.get("text")))
    if parts and not str(parts[-1].get("text")).endswith("\n"):
        output.line()


def _name_file(output: Output, part: dict[str, Any]) -> None:
    if part.get("part") == 1:
        what = "" if part.get("change") in ("whole", "changed") else f"  ({part.get('change')})"
        output.line(f"\n--- {plain(part.get('path'))}{what}")


def _show_side_by_side(output: Output, parts: list[dict[str, Any]], columns: int) -> None:
    """Write files with each difference in two columns; a file that comes in parts is put together first."""
    for _, held in groupby(parts, key=lambda part: part.get("path")):
        pieces = list(held)
        _name_file(output, pieces[0])
        text = "".join(str(part.get("text")) for part in pieces)
        if pieces[0].get("change") != "changed":
            output.read(text if text.endswith("\n") or not text else f"{text}\n")
            continue
        for line in side_by_side.drawn(text, columns):
            output.line(line)
