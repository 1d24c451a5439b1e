"""One copy from a word to a word: which way it goes, what lands where, and what its folders mean. As ``cp`` has it."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cli.files.download import Descriptor, Downloads
from cli.files.local import local_failure
from cli.files.patience import BROKEN, Patience
from cli.files.place import Remote
from cli.files.progress import Progress
from cli.files.report import Report
from cli.files.trees import download_tree, upload_file, upload_tree
from cli.files.upload import Uploads
from cli.invocation import Invocation
from cli.sessions import RemoteSession
from cli.wire import shown
from protocol.errors import ArgumentError, NotFoundError, OutriderError

STDOUT = "-"


@dataclass(frozen=True, slots=True)
class Wish:
    """How to copy."""

    is_recursive: bool
    keeps: bool  # mode and time
    retry_s: float


class Copy:
    """Copies in one session.

    Args:
        invocation: Whose it is.
        session: Open, on the host that is one of the two sides.
        wish: How.
    """

    def __init__(self, invocation: Invocation, session: RemoteSession, wish: Wish) -> None:
        self._session = session
        self._wish = wish
        progress = Progress(is_shown=not invocation.as_json)
        self.report = Report(invocation.output, progress)
        patience = Patience(session, wish.retry_s, self.report.say)
        self.downloads = Downloads(session, patience, progress, self.report.say)
        self.uploads = Uploads(session, patience, progress, self.report.say)

    def from_host(self, sources: Sequence[Remote], place: str) -> None:
        """Copy from the host to a file or directory here; what fails is told.

        Raises:
            OutriderError: The way to the host stays broken.
        """
        is_into = os.path.isdir(place)
        if len(sources) > 1 and not is_into:
            raise ArgumentError(f"{shown(place)} is no directory, so only one source can go there")
        for source in sources:
            target = os.path.join(place, source.name) if is_into and source.name else place
            try:
                self._one_from_host(source, target)
            except BROKEN:
                raise
            except OutriderError as error:
                self.report.fail(str(source), error)

    def _one_from_host(self, source: Remote, target: str) -> None:
        about = self._session.call("fs.stat", path=source.path)
        if about is None:
            raise NotFoundError(f"{source} does not exist")
        if about["type"] == "directory":
            if not self._wish.is_recursive:
                raise ArgumentError(f"{source} is a directory (copy it with: outrider file cp -r)")
            keeps = self._wish.keeps
            download_tree(self._session, self.downloads, source, target, self.report, keeps=keeps)
            return
        if about["type"] != "file":
            self.report.leave_out(str(source), f"it is a {about['type']}")
            return
        if target == STDOUT or _is_special(target):
            self._into_open(source, target)
            return
        self.one_file(source, target)

    def one_file(self, source: Remote, target: str) -> None:
        """Copy one file of the host to a file here, which a link may stand for."""
        real = os.path.realpath(target)
        directory, name = os.path.split(real)
        if not name:
            raise ArgumentError(f"{shown(target)!r} is no name of a file")
        try:
            fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise local_failure(error, directory) from None
        try:
            got = self.downloads.into(source.path, fd, name, str(source), keeps=self._wish.keeps)
        finally:
            os.close(fd)
        more: dict[str, Any] = {"resumed_at": got.resumed_at} if got.resumed_at else {}
        if got.resumed_at:
            self.report.say(f"{source}: went on at {got.resumed_at} of {got.bytes} bytes")
        self.report.copied(str(source), target, got.bytes, **more, changed=got.changed)

    def _into_open(self, source: Remote, target: str) -> None:
        """Write to what cannot be replaced, such as a device or a pipe."""
        try:
            fd = os.dup(1) if target == STDOUT else os.open(target, os.O_WRONLY | os.O_CLOEXEC)
        except OSError as error:
            raise local_failure(error, target) from None
        try:
            sink = Descriptor(fd, target)
            self.downloads.receive(source.path, sink, str(source))
        finally:
            os.close(fd)
        self.report.copied(str(source), target, sink.size)

    def to_host(self, sources: Sequence[str], place: Remote) -> None:
        """Copy from here to a file or directory of the host; raises as :meth:`from_host`."""
        about = self._session.call("fs.stat", path=place.path)
        is_into = about is not None and about["type"] == "directory"
        if not is_into and (len(sources) > 1 or place.path.endswith("/")):
            raise ArgumentError(f"{place} is no directory")
        for source in sources:
            name = os.path.basename(source.rstrip("/"))
            name = name if name not in ("", "..") else os.path.basename(os.path.abspath(source))
            target = place.below(name) if is_into and name != "." else place  # "folder/.": what is in it
            try:
                self._one_to_host(source, target)
            except BROKEN:
                raise
            except OutriderError as error:
                self.report.fail(source, error)

    def _one_to_host(self, source: str, target: Remote) -> None:
        try:
            mode = os.stat(source).st_mode
        except OSError as error:
            raise local_failure(error, source) from None
        if stat.S_ISDIR(mode):
            if not self._wish.is_recursive:
                raise ArgumentError(f"{shown(source)} is a directory (copy it with: outrider file cp -r)")
            upload_tree(self._session, self.uploads, source, target, self.report, keeps=self._wish.keeps)
        elif not stat.S_ISREG(mode):
            self.report.leave_out(source, "it is a special file")
        else:
            upload_file(self._session, self.uploads, source, target, self.report, keeps=self._wish.keeps)


def _is_special(path: str) -> bool:
    """Tell whether there is something at a path here that a file must not take the place of."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
