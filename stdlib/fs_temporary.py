"""``fs.tempfile`` and ``fs.tempdir``: private places that are gone with the run."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from functools import partial
from pathlib import Path

from kernel.visits import begun_apart
from protocol.errors import BudgetError, UnavailableError
from protocol.tiers import Tier
from stdlib.declaring import call
from stdlib.host import TEMPORARY_PREFIX, RunContext
from stdlib.parameters import Data

MAX_TEMPORARIES = 100  # of one run

_log = logging.getLogger("outrider.stdlib")


@call("fs.tempdir", tier=Tier.INSPECT, changes=True, lua="local path = fs.tempdir()", python="path = fs.tempdir()")
def tempdir(run: RunContext) -> str:
    """Return the path of a new, empty directory that only the agent's own user may enter; removed when the run ends.

    No other run reaches it. This one may use it as far as its tier reads or writes anything: no rule has to name it,
    only for what brings other files there (``fs.copy``, ``fs.link``, ``fs.rename``, ``fs.extract``, ``fs.fetch``).
    Where needs, an approval or the ceiling let that be done, they have to name what may be read there, too.
    """
    return str(_fresh(run))


@call(
    "fs.tempfile", tier=Tier.INSPECT, changes=True,
    lua='local path = fs.tempfile("a list for a command")', python='path = fs.tempfile("a list for a command")',
)  # fmt: skip
def temporary_file(run: RunContext, data: Data = b"") -> str:
    """Return the path of a new file with this content, for the agent's own user alone; as ``fs.tempdir``."""
    path = _fresh(run) / "file"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
    except OSError as error:
        raise UnavailableError(f"a temporary file cannot be written: {error.strerror}") from None
    return str(path)


def _fresh(run: RunContext) -> Path:
    if len(run.temporaries) >= MAX_TEMPORARIES:
        raise BudgetError(f"temporaries: a run has at most {MAX_TEMPORARIES}", budget="temporaries")
    try:
        made = Path(tempfile.mkdtemp(prefix=TEMPORARY_PREFIX))
    except OSError as error:
        raise UnavailableError(f"a temporary directory cannot be made: {error.strerror}") from None
    run.temporaries.append(os.path.realpath(made))
    status = made.lstat()
    run.on_end(partial(begun_apart, _remove, made, (status.st_dev, status.st_ino)))
    return made


def _remove(made: Path, identity: tuple[int, int]) -> None:
    """Remove what was made, if it is still there: a script may have removed it, or moved another one to its place,
    which nobody has allowed it to remove.
    """
    try:
        status = made.lstat()
    except FileNotFoundError:
        return
    if (status.st_dev, status.st_ino) != identity:
        _log.warning("%s is not what was made for a run, so it stays", made)
        return
    shutil.rmtree(made, ignore_errors=True)  # as much as can be
    if made.exists():
        _log.warning("%s, which was made for a run, could not be removed as a whole", made)
