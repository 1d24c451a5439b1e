"""``outrider file edit``: a file of a host in the user's own editor, saved only over what was opened."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import click

from cli import exits
from cli.files.editor import Draft, command, edit
from cli.files.patience import Patience
from cli.files.place import Remote, lowest, remote
from cli.files.progress import Progress
from cli.files.texts import read, sha256, text_of, unified
from cli.files.upload import Uploads
from cli.identities import SESSION
from cli.invocation import Invocation, pass_invocation
from cli.leaf import ServerCommand
from cli.session_options import files_session, session_options, with_key
from cli.sessions import RemoteSession, ask_reason
from cli.values import ask_whom
from cli.wire import shown
from protocol.errors import ConflictError, NotFoundError, OutriderError

MAX_SHOWN_CHARACTERS = 256 << 10  # of a text that is shown to those who watch
MAX_PATCHED_BYTES = 1 << 20  # stdlib.fs_write.MAX_PATCHED_BYTES: larger files are saved as a whole


@dataclass(frozen=True, slots=True)
class Opened:
    """What was there when the file was opened."""

    at: Remote
    data: bytes
    is_new: bool


@with_key
@click.command("edit", cls=ServerCommand)
@click.argument("place", metavar="TARGET:PATH")
@click.option("--yes", is_flag=True, help="Save without asking.")
@click.option(
    "--beside", type=SESSION, metavar="SESSION", help="A terminal of yours on that host: this is put on its timeline."
)
@session_options
@pass_invocation
def noun(
    invocation: Invocation, place: str, yes: bool, beside: str | None, tier: str | None, reason: str
) -> None:  # fmt: skip
    """Open a file of a host in your editor (VISUAL, EDITOR), show the diff, and save it if nobody has changed it since.

    The diff is on the record, as far as it has room there, and what undoes the change is printed. Your text is kept
    here if it cannot be saved. A file that is not there is made.

    \b
    Examples:
      outrider file edit web-3:/etc/nginx/nginx.conf
      EDITOR='sed -i s/80/8080/' outrider file edit web-3:/etc/app/port --yes --reason CHG-118
    """
    at = remote(place)
    ask_whom(invocation, yes)
    words = command()
    wanted = [("fs.read_stream", at.path)]
    reason = ask_reason(invocation, lowest(wanted), reason)  # once, if looking needs one already
    with files_session(invocation, at, wanted, None, reason, beside=beside) as session:
        opened = _open(session, at, invocation)
        draft = Draft(at.name or "file", opened.data)
        is_done = False
        try:
            is_wanted = _edited(invocation, session, opened, draft, words, yes)
            if is_wanted:
                _save(invocation, session, opened, draft, tier, reason, beside)
            is_done = is_wanted is not None
        finally:
            if is_done or draft.read() == opened.data:
                draft.drop()
            else:
                invocation.output.say(f"your text is in {shown(draft.keep())}")
    invocation.exit(exits.OK if is_done else exits.FAILURE)


def _open(session: RemoteSession, at: Remote, invocation: Invocation) -> Opened:
    try:
        _, data = read(session, at.path, str(at), invocation.output.say)
    except NotFoundError:
        return Opened(at, b"", True)
    return Opened(at, data, False)


def _edited(
    invocation: Invocation, session: RemoteSession, opened: Opened, draft: Draft, words: list[str], yes: bool
) -> bool | None:
    """Have the user edit until he is content: True to save it, False if nothing changed, None to let it be."""

    def saved(data: bytes) -> None:
        text = text_of(data)
        if text is not None:
            with suppress(OutriderError):  # it is only shown to others
                _show(session, opened.at, text[:MAX_SHOWN_CHARACTERS])

    while True:
        saved(draft.read())
        status = edit(draft, words, saved)
        with suppress(OutriderError):
            _show(session, opened.at, None)
        data = draft.read()
        if status:
            invocation.output.say(f"{words[0]} ended with status {status}; nothing is saved")
            return None
        if data == opened.data and not (opened.is_new and yes):
            invocation.output.say("nothing was changed")
            return False
        name = shown(str(opened.at))
        for line in unified(opened.data, data, name, name).splitlines():
            invocation.output.say(line)
        if yes:
            return True
        answer = click.prompt(
            "Save this? (y)es, (n)o, (e)dit again", type=click.Choice(["y", "n", "e"]), show_choices=False, err=True
        )
        if answer != "e":
            return True if answer == "y" else None


def _show(session: RemoteSession, at: Remote, text: str | None) -> None:
    session.api.put(f"sessions/{session.id}/editing", {"path": shown(at.path), "text": text, "cursor": None})


def _save(
    invocation: Invocation, looking: RemoteSession, opened: Opened, draft: Draft, tier: str | None, reason: str,
    beside: str | None,
) -> None:  # fmt: skip
    """Put it in its place.

    Raises:
        OutriderError: It is not there; a conflict was shown.
    """
    at, data = opened.at, draft.read()
    with files_session(invocation, at, [("fs.write", at.path)], tier, reason, beside=beside) as session:
        try:
            done = _written(invocation, session, opened, data)
        except ConflictError as error:
            _show_theirs(invocation, looking, opened)
            raise ConflictError(f"{shown(str(at))} was changed since it was opened: {error.message}") from None
    told: dict[str, Any] = {"path": shown(at.path), "sha256": done["new_hash"], "journal": done.get("journal")}
    if invocation.as_json:
        invocation.output.data(told)
    else:
        undo = f"; undo: outrider file undo {at.agent} {told['journal']}" if told["journal"] else ""
        invocation.output.say(f"saved{undo}")


def _written(invocation: Invocation, session: RemoteSession, opened: Opened, data: bytes) -> dict[str, Any]:
    """Write it as a patch, whose text is on the record, or as a whole where that cannot be."""
    from stdlib import patching  # only a save needs it

    old, new = text_of(opened.data), text_of(data)
    if not opened.is_new and old is not None and new is not None and len(opened.data) <= MAX_PATCHED_BYTES:
        diff = patching.make(old, new, opened.at.path)
        if len(diff) <= 48 << 10 and patching.apply(old, diff) == new:
            done = dict(session.call("fs.patch", path=opened.at.path, diff=diff, if_hash=sha256(opened.data)))
            return done
    say = invocation.output.say
    uploads = Uploads(session, Patience(session, 0, say), Progress(is_shown=False), say)
    condition = "absent" if opened.is_new else sha256(opened.data)
    return uploads.put(data, {"path": opened.at.path, "mode": None, "if_hash": condition})


def _show_theirs(invocation: Invocation, session: RemoteSession, opened: Opened) -> None:
    """Show what somebody else has made of the file meanwhile."""
    name = shown(str(opened.at))
    try:
        _, now = read(session, opened.at.path, name, invocation.output.say)
    except OutriderError as error:
        invocation.output.say(f"{name}: {error}")
        return
    for line in unified(opened.data, now, f"{name} (as it was opened)", f"{name} (as it is now)").splitlines():
        invocation.output.say(line)
