"""Every command of ``outrider`` that a message, docstring or page names is there: people type what they are told."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from cli.main import root

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("agent", "cli", "docs", "policies", "protocol", "scripts", "server", "stdlib", "README.md", "SECURITY.md")
#: A noun, and its verb if it is followed by a word; not ``outrider-server``, a path, or a word of prose behind a noun.
NAMED = re.compile(r"(?<![-\\w./])outrider ([a-z]+)(?: ([a-z]+))?(?=$|[ `'\"),;:.{])")
PROSE = {"itself", "outrider", "looks"}  # that follow the program's name as words do


def commands() -> dict[str, set[str] | None]:
    """Return the nouns, each with its verbs; None where a noun is the whole command."""
    context = click.Context(root)
    found: dict[str, set[str] | None] = {}
    for name in root.list_commands(context):
        command = root.get_command(context, name)
        found[name] = set(command.list_commands(context)) if isinstance(command, click.Group) else None
    return found


def unknown(text: str, known: dict[str, set[str] | None]) -> Iterator[tuple[int, str]]:
    """Yield line and words of each command that is not there."""
    for number, line in enumerate(text.splitlines(), 1):
        for match in NAMED.finditer(line):
            noun, verb = match[1], match[2]
            if noun in PROSE:
                continue
            verbs = known.get(noun)
            if noun not in known or (verbs is not None and verb is not None and verb not in verbs):
                yield number, match[0]


def files() -> list[str]:
    listed = subprocess.run(["git", "ls-files", *FOLDERS], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split() if name.endswith((".py", ".md", ".yaml"))]


def test_every_command_that_is_named_is_there() -> None:
    known = commands()
    wrong = [
        f"{name}:{line} names {words!r}"
        for name in files()
        for line, words in unknown((ROOT / name).read_text(encoding="utf-8"), known)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("(outrider roster sign, then outrider roster put)", ["outrider roster put"]),
        ("see `outrider nothing`", ["outrider nothing"]),
        ("outrider run web-3 checks/disk; outrider-server init; /etc/outrider nothing", []),
        ("outrider agent ls --label role=mail", []),
    ],
)
def test_what_counts_as_named(text: str, words: list[str]) -> None:
    assert [found for _, found in unknown(text, commands())] == words
