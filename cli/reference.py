"""The command reference ``docs/cli.md``, written from the click tree, so that it cannot differ from it.

``python -m cli.reference`` writes the file, ``--check`` only compares. A test holds the two together.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from cli import exits
from cli.leaf import ServerCommand
from cli.main import root

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "cli.md"

HEAD = """\
# `outrider`, command by command

Generated from the program itself by `python -m cli.reference`; change the program, not this page.

Every command takes `--json` (data as JSON on stdout) and `-h`. Commands marked *server* also take `--server URL`,
`--token-file FILE` and `--context NAME`. Data goes to stdout, talk to stderr; colour only on a terminal, and not with
`NO_COLOR`, `TERM=dumb` or `--no-color`. Exit statuses: [exit-codes.md](exit-codes.md).

Where a command takes the id of a run, session, schedule, review, grant, request, question, webhook or message, the
beginning of one will do: six characters or more, if no other id of that kind that you may see begins so. If several do,
nothing is done and they are named. Hosts and scripts have names, and are meant by all of them.

| environment | meaning |
|---|---|
| `OUTRIDER_SERVER`, `OUTRIDER_TOKEN` | the server and the API token, instead of a context's |
| `OUTRIDER_CONTEXT` | a named context of `~/.config/outrider/config.yaml` |
| `OUTRIDER_KEY` | file of the private key to sign with |
| `OUTRIDER_DEBUG` | show the traceback of an unforeseen error |
"""


def commands(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command below and including ``command`` with the words that call it."""
    context = click.Context(command, info_name=path[-1])
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name in command.list_commands(context):
        found = command.get_command(context, name)
        if found is not None:
            yield from commands(found, (*path, name))


def describe(path: tuple[str, ...], command: click.Command) -> str:
    """Return the section of one command."""
    context = click.Context(command, info_name=" ".join(path))
    usage = command.get_usage(context).removeprefix("Usage: ")
    marked = " *(server)*" if isinstance(command, ServerCommand) else ""
    lines = [f"### `{' '.join(path)}`{marked}", "", f"    {' '.join(usage.split())}", "", *_text(command)]
    rows = [row for parameter in command.params if (row := _row(parameter, context)) is not None]
    if rows:
        lines += ["", "| option | meaning |", "|---|---|", *rows]
    return "\n".join(lines) + "\n"


def _text(command: click.Command) -> list[str]:
    """Return the help as Markdown; what click is told not to rewrap (``\\b``) becomes a code block."""
    lines: list[str] = []
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith("\b"):
            first, *rest = paragraph.splitlines()[1:]
            lines += ["", first, "", *(f"    {line.strip()}" for line in rest)]
        else:
            lines += ["", " ".join(paragraph.split())]
    return lines[1:]


def _row(parameter: click.Parameter, context: click.Context) -> str | None:
    shared = {option.name for option in ServerCommand("any").params}
    if not isinstance(parameter, click.Option) or parameter.name in shared:
        return None
    record = parameter.get_help_record(context)
    if record is None:
        return None
    names, text = (re.sub(r"  +", " ", part).replace("|", "\\|") for part in record)
    return f"| `{names}` | {text} |"


def document() -> str:
    """Return the whole page."""
    sections: list[str] = [HEAD]
    noun = ""
    for path, command in commands(root, ("outrider",)):
        if path[1] != noun:
            noun = path[1]
            sections.append(f"## {noun}\n")
        sections.append(describe(path, command))
    return "\n".join(sections)


def main(arguments: list[str]) -> int:
    """Write the page, or with ``--check`` tell whether it is current."""
    text = document()
    if "--check" in arguments:
        current = DOCUMENT.exists() and DOCUMENT.read_text(encoding="utf-8") == text
        if not current:
            sys.stderr.write(f"{DOCUMENT} is not current: run python -m cli.reference\n")
        return exits.OK if current else exits.FAILURE
    DOCUMENT.write_text(text, encoding="utf-8")
    return exits.OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
