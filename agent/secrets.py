"""The secrets of this host: kept as they were sealed, opened for the moment in which a call uses one.

- The server pushes the whole list; what is missing in it is removed. It cannot read a secret, nor use one in the place
  of another, nor let other scripts have it, nor bring an older version back. It can withhold one, or seal a value of
  its own: a box does not prove who sealed it.
- A box that is new is opened once when it arrives, to know that it is good, and the value is let go at once. One that
  is not good is refused and on record, and what was there before stays.
- The highest version of each name is remembered when the secret itself is gone, so that none comes back.
- A file that is damaged means that no secret is used and none is taken: which versions were seen is in it.
- Which script asks is the agent's own word: the name that an author was proved to hold.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agent import limits
from agent.files import read_bounded, write_durably
from agent.logs import LOG
from protocol import shapes
from protocol.errors import (
    ArgumentError,
    DeniedError,
    NotFoundError,
    OutriderError,
    TooLargeError,
    TrustError,
    UnavailableError,
)
from protocol.limits import MAX_SEQUENCE
from protocol.sealing import MAX_BOX_BYTES, MAX_PATTERNS, Context, OpeningKey
from protocol.signing import decode_base64

_FORMAT: Final = 1
_MAX_FILE_BYTES: Final = 4 * limits.MIB
_ITEM: Final = {
    "name": shapes.text(100, min_chars=1),
    "version": shapes.integer(1, MAX_SEQUENCE),
    "scripts": shapes.listing(shapes.text(200, min_chars=1), MAX_PATTERNS),
    "sealed": shapes.octets(1, MAX_BOX_BYTES),
}


@dataclass(frozen=True, slots=True)
class Sealed:
    """One secret as it is kept."""

    context: Context
    box: bytes

    @property
    def digest(self) -> str:
        """What tells two boxes of one version apart."""
        return hashlib.sha256(self.box).hexdigest()


def load_opening_key(path: Path) -> OpeningKey:
    """Return this host's sealing key; the first time, make it.

    Raises:
        UnavailableError: Others can read or write it, or it cannot be made.
        ArgumentError: It is no key.
    """
    try:
        text = read_bounded(path, 4096, is_secret=True).decode("utf-8", "replace")
    except NotFoundError:
        key = OpeningKey.generate()
        write_durably(path, key.to_text().encode(), mode=0o600)
        return key
    return OpeningKey.from_text(text, where=str(path))


class Secrets:
    """What one agent holds.

    Args:
        path: Where the boxes are kept.
        key: Opens them.
        agent_id: They must be sealed for.
    """

    def __init__(self, path: Path, key: OpeningKey, agent_id: str) -> None:
        self._path = path
        self._key = key
        self._agent_id = agent_id
        self._held: dict[str, Sealed] = {}  # by name
        self._seen: dict[str, tuple[int, str]] = {}  # by name: highest version, and the digest of its box
        self.problem: str | None = None  # why nothing can be used or taken; None while all is well
        try:
            self._load()
        except OutriderError as error:
            self.problem = str(error)
            LOG.critical("no secret can be used: %s", error)

    @property
    def versions(self) -> dict[str, int]:
        """The version of each secret that is held, by name."""
        return {name: self._held[name].context.version for name in sorted(self._held)}

    def of(self, script: str) -> ScriptSecrets:
        """Return what the script of this name may use. The name must be proved."""
        return ScriptSecrets(self, script)

    def set(self, items: Sequence[Any]) -> list[OutriderError]:
        """Take the list as the server has it now; durable when it returns.

        Returns:
            Why items were refused; what was held under their names stays.

        Raises:
            TooLargeError: More than a host keeps; nothing has changed.
            UnavailableError: It cannot be kept; nothing has changed.
        """
        self._check_usable()
        if len(items) > limits.MAX_SECRETS:
            raise TooLargeError(f"more than {limits.MAX_SECRETS} secrets for one host")
        held: dict[str, Sealed] = {}
        refusals: list[OutriderError] = []
        for item in items:
            name = item.get("name") if isinstance(item, Mapping) else None
            try:
                sealed = self._read(item)
                if sealed.context.name in held:
                    raise ArgumentError(f"the secret {sealed.context.name} came twice", parameter="name")
                self._check(sealed)
                held[sealed.context.name] = sealed
            except OutriderError as error:
                refusals.append(error)
                if isinstance(name, str) and name in self._held:
                    held.setdefault(name, self._held[name])
        seen = self._seen | {name: (item.context.version, item.digest) for name, item in held.items()}
        if len(seen) > limits.MAX_SECRET_NAMES:
            raise TooLargeError(f"more than {limits.MAX_SECRET_NAMES} names of secrets were ever used on one host")
        if held != self._held or seen != self._seen:
            write_durably(self._path, _written(held, seen))
            self._held, self._seen = held, seen
        return refusals

    def require(self, name: str, script: str) -> Sealed:
        """Return a secret as it is kept, if the script may use it.

        Raises:
            NotFoundError: There is none of this name.
            DeniedError: It is for other scripts.
            UnavailableError: What is kept is damaged.
        """
        self._check_usable()
        sealed = self._held.get(name)
        if sealed is None:
            raise NotFoundError(f"there is no secret {name!r:.120} on this host")
        if not sealed.context.lets(script):
            raise DeniedError(f"the secret {name} is not for {script}", rule=f"secret {name}: its scripts")
        return sealed

    def open(self, name: str, script: str) -> bytes:
        """Return the value; raises as :meth:`require`, and TrustError if the box does not open any more."""
        sealed = self.require(name, script)
        return self._key.open(sealed.box, sealed.context)

    def _check_usable(self) -> None:
        if self.problem is not None:
            raise UnavailableError(f"no secret can be used on this host: {self.problem}")

    def _read(self, item: Any) -> Sealed:
        fields = shapes.read_fields(item, "secrets.set", _ITEM)
        return Sealed(Context(self._agent_id, fields["name"], fields["version"], fields["scripts"]), fields["sealed"])

    def _check(self, sealed: Sealed) -> None:
        """Return if a box may be held.

        Raises:
            TrustError: ``rollback``, ``not_for_us`` or ``malformed``.
        """
        context = sealed.context
        version, digest = self._seen.get(context.name, (0, ""))
        if context.version < version or (context.version == version and sealed.digest != digest):
            raise TrustError(
                f"the secret {context.name} version {context.version} was replaced by version {version} before",
                reason="rollback",
            )
        if self._held.get(context.name) != sealed:
            self._key.open(sealed.box, context)  # the value is let go at once

    # the file ------------------------------------------------------------------------------------------------------

    def _load(self) -> None:
        try:
            content = read_bounded(self._path, _MAX_FILE_BYTES, is_secret=True)
        except NotFoundError:
            return
        try:
            value = json.loads(content)
            if value["format"] != _FORMAT:
                raise ValueError(f"format {value['format']!r:.20} is not known")
            for item in value["secrets"]:
                box = decode_base64(item["sealed"])
                context = Context(self._agent_id, item["name"], item["version"], tuple(item["scripts"]))
                self._held[context.name] = Sealed(context, box)
            self._seen = {str(name): (int(version), str(digest)) for name, (version, digest) in value["seen"].items()}
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OutriderError) as error:
            # Going on would forget which versions were seen, and so let old ones come back.
            raise UnavailableError(f"{self._path} is damaged: {error}") from error
        LOG.debug("%d secrets are held", len(self._held))


class ScriptSecrets:
    """What one script may use; the one form in which calls reach secrets."""

    def __init__(self, secrets: Secrets, script: str) -> None:
        self._secrets = secrets
        self._script = script

    def require(self, name: str) -> None:
        """Return if the script may use the secret; raises as :meth:`Secrets.require`."""
        self._secrets.require(name, self._script)

    def open(self, name: str) -> bytes:
        """Return the value; raises as :meth:`Secrets.open`."""
        return self._secrets.open(name, self._script)


def _written(held: Mapping[str, Sealed], seen: Mapping[str, tuple[int, str]]) -> bytes:
    secrets = [
        {
            "name": name, "version": item.context.version, "scripts": list(item.context.scripts),
            "sealed": base64.b64encode(item.box).decode(),
        }
        for name, item in sorted(held.items())
    ]  # fmt: skip
    plain = {"format": _FORMAT, "secrets": secrets, "seen": {name: list(seen[name]) for name in sorted(seen)}}
    return json.dumps(plain, indent=1).encode()
