"""``secret``: a value that a script can use and never see.

What a script gets is a handle with a name. Calls that take one (as an argument of net, tty, proc) open it for the
moment of their use. From then on the run's redactor looks for the value in everything that goes back to the script or
leaves the run (``protocol/redaction.py`` says in which forms).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Protocol

from policies.model import Facts
from protocol.errors import NotFoundError, UnavailableError
from protocol.redaction import Redactor
from protocol.sealing import check_name
from protocol.tiers import Tier
from stdlib.call_specs import Decided
from stdlib.declaring import call
from stdlib.handles import Handle
from stdlib.host import Host, RunContext
from stdlib.parameters import Length


class SecretSource(Protocol):
    """Where the values of secrets come from, for one script."""

    def require(self, name: str) -> None:
        """Return if the script may use the secret; NotFoundError or DeniedError if not."""

    def open(self, name: str) -> bytes:
        """Return the value; raises as :meth:`require`."""


class GivenSecrets:
    """Secrets of a local run, given by whoever runs it."""

    def __init__(self, values: Mapping[str, bytes]) -> None:
        self._values = dict(values)

    def require(self, name: str) -> None:
        """Return if it was given."""
        self.open(name)

    def open(self, name: str) -> bytes:
        """Return what was given."""
        if name not in self._values:
            raise NotFoundError(
                f"there is no secret {name!r:.120} (a local run gets one with --secret {name:.120}=@FILE)"
            )
        return self._values[name]


class Secret(Handle):
    """One secret, as a run holds it. The value is not in here."""

    kind: ClassVar[str] = "secret"

    def __init__(self, name: str, open_it: Callable[[str], bytes], redactor: Redactor) -> None:
        self._name = name
        self._open = open_it
        self._redactor = redactor

    def fields(self) -> dict[str, Any]:
        """Return its name, which is no secret."""
        return {"name": self._name}

    def reveal(self) -> bytes:
        """Return the value, which is looked for from now on in everything that leaves the run."""
        value = self._open(self._name)
        self._redactor.add(self._name, value)
        return value


def _named(_host: Host, arguments: Mapping[str, Any]) -> Decided:
    return Decided((Facts(name=arguments["name"]),))


@call(
    "secret",
    tier=Tier.INSPECT,
    decides=_named,
    lua='local password = secret("db-password")',
    python='password = secret("db-password")',
)
async def secret(run: RunContext, name: Annotated[str, Length(100)]) -> Secret:
    """Return a handle of the secret ``name``, which calls take as an argument in place of a text.

    The script never sees the value: it has ``name`` and nothing else. It must be among the scripts that the secret is
    for, and what its manifest's needs name (``names``) narrows it further. What comes back from programs and servers
    that repeat the value reads ``[secret NAME]``. A ``not_found`` error if this host has no such secret.
    """
    check_name(name)
    if run.secrets is None:
        raise UnavailableError("there are no secrets for this run")
    run.secrets.require(name)
    return Secret(name, run.secrets.open, run.redactor)
