"""What must not be told of a program's arguments: passwords, tokens, keys, credentials in URLs. Pure, in linear time.

This is care, not a wall: what looks like no secret stays, so arguments are told from tier ``inspect`` on only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

MARK: Final = "[redacted]"
MAX_ARGUMENTS: Final = 256
MAX_CHARACTERS: Final = 4096  # of one argument

_STRONG: Final = r"passwords?|passwd|passphrase|secrets?|tokens?|api[_-]?keys?"  # also at the end of a longer word
_WORD: Final = (
    rf"[A-Za-z0-9]{{0,32}}(?:{_STRONG})|pass|passcode|pw|pwd|(?:access|private|auth|encryption|signing)[_-]?keys?"
    r"|auth|authorization|bearer|credentials?|cookies?|sas|dsn|connection[_-]?string"
)
_NAME: Final = re.compile(
    rf"(?:[A-Za-z0-9]{{1,32}}[._-]){{0,6}}(?:{_WORD})(?:[._-][A-Za-z0-9]{{1,32}}){{0,2}}", re.IGNORECASE
)
_NOT_SECRET: Final = re.compile(
    r"(?:no-|without-|.*[._-](?:file|path|dir|store|stdin|fd|env|prompt|type|url)$)", re.IGNORECASE
)
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,30}://)([^\s/?#@]{1,512})@")
_QUERY: Final = re.compile(
    rf"([?&;](?:[A-Za-z0-9]{{1,32}}[._-]){{0,3}}(?:{_WORD}|sig|signature|key)=)[^&#;\s]+", re.IGNORECASE
)
_HEADER: Final = re.compile(
    r"^((?:proxy-)?authorization|cookie|set-cookie|x-[a-z-]{0,40}(?:token|key|auth|secret)[a-z-]{0,20})(\s*:\s*).+",
    re.IGNORECASE | re.DOTALL,
)
_TOKENS: Final = re.compile(
    r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}|xox[abprs]-[A-Za-z0-9-]{10,}"
    r"|AKIA[0-9A-Z]{16}|sk-[A-Za-z0-9_-]{20,}|eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,})"
)
_LONG: Final = re.compile(r"(-{1,2}|/)?([A-Za-z][A-Za-z0-9._-]{0,100})([=:])(.*)", re.DOTALL)
_OPTION: Final = re.compile(r"--[A-Za-z].*|-[A-Za-z]", re.DOTALL)
#: Programs whose short option is a password, alone or with what follows it in the same argument.
_SHORT: Final = {
    "mysql": "-p", "mysqldump": "-p", "mysqladmin": "-p", "mariadb": "-p", "mariadb-dump": "-p", "mongo": "-p",
    "mongosh": "-p", "mongodump": "-p", "sshpass": "-p", "curl": "-u", "redis-cli": "-a", "ldapsearch": "-w",
    "ldapmodify": "-w", "ldapadd": "-w", "sqlcmd": "-P", "plink": "-pw", "pscp": "-pw", "snmpwalk": "-c",
    "snmpget": "-c", "ipmitool": "-P", "rabbitmqadmin": "-p", "7z": "-p", "zip": "-P", "unzip": "-P", "unrar": "-p",
}  # fmt: skip


def redacted(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of a program, the first of which is its name, without what looks like a secret.

    At most MAX_ARGUMENTS of them, each cut at MAX_CHARACTERS.
    """
    told: list[str] = []
    short = _SHORT.get(arguments[0].rsplit("/", 1)[-1].lower()) if arguments else None
    is_value = False  # of the option before
    for place, argument in enumerate(arguments[:MAX_ARGUMENTS]):
        text = argument[:MAX_CHARACTERS]
        if is_value and not _OPTION.fullmatch(text):
            told.append(_after(text))
            is_value = False
            continue
        is_value = place > 0 and _wants_value(text, short)
        told.append(_one(text, short) if place else _anywhere(text))
    return told


def _after(text: str) -> str:
    """Return the value of a secret option: a user before a colon stays."""
    user, colon, _ = text.partition(":")
    return f"{user}:{MARK}" if colon and user and "/" not in user else MARK


def _wants_value(text: str, short: str | None) -> bool:
    if short is not None and text == short:
        return True
    name = text.lstrip("-/")
    return text.startswith("-") and _is_secret(name)


def _is_secret(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and not _NOT_SECRET.match(name)


def _one(text: str, short: str | None) -> str:
    if short is not None and text.startswith(short) and len(text) > len(short) and not text.startswith("--"):
        return f"{short}{_after(text[len(short) :])}"
    header = _HEADER.match(text)
    if header:
        return f"{header[1]}{header[2]}{MARK}"
    named = _LONG.fullmatch(text)
    if named and _is_secret(named[2]) and named[4]:
        return f"{named[1] or ''}{named[2]}{named[3]}{MARK}"
    return _anywhere(text)


def _anywhere(text: str) -> str:
    text = _URL.sub(lambda found: f"{found[1]}{_userinfo(found[2])}@", text)
    text = _QUERY.sub(rf"\1{MARK}", text)
    return _TOKENS.sub(MARK, text)


def _userinfo(text: str) -> str:
    """Return who is named in a URL: the user stays, what follows it does not; a lone token may be one."""
    user, colon, _ = text.partition(":")
    if colon:
        return f"{user}:{MARK}"
    return MARK if len(user) >= 16 else user
