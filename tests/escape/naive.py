"""A gate as one writes it the first time: every check is there, and each one is made in the wrong place or on text.

The battery runs it as a program of its own, which forks the attacker: whatever goes wrong ends here. It prints, as
JSON, what the attacker got and what it did itself. One weakness is switched on at a time; the rest is refused.
"""

from __future__ import annotations

import ctypes
import fnmatch
import json
import os
import pickle
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attacker
import msgpack
from place import COMMANDS, Place

from sandbox.channel import Channel, framed

MAX_READ_BYTES = 64
MOMENT_S = 0.075  # that the other user has, at most, between a check and its use
LIBC = ctypes.CDLL(None, use_errno=True)


class Denied(Exception):
    """What a policy says."""


class NaiveGate:
    """Serves one attacker over one socket."""

    def __init__(self, sock: socket.socket, place: Place, weakness: str) -> None:
        self._sock = sock
        self._place = place
        self._weakness = weakness
        self._buffer = b""
        self._calls = 0
        self._output = b""
        self._pieces = 0
        self._is_over = False
        self.said: list[str] = []
        self.result: list[Any] | None = None  # value, error, output_bytes

    def has(self, weakness: str) -> bool:
        return self._weakness == weakness

    # Frames

    def serve(self) -> None:
        while (head := self._exactly(4)) is not None:
            (length,) = struct.unpack(">i" if self.has("unsigned length") else ">I", head)
            if not self.has("frame limit") and length > 1 << 20:
                raise ValueError("frame too large")
            if self.has("frame limit"):
                self._buffer = bytes(bytearray(length))[:0] + self._buffer  # here as well
            if self.has("unsigned length"):
                self._sock.recv(length)
            body = self._exactly(length)
            if body is None:
                return
            for message in self._messages(body):
                self._take(message)

    def _exactly(self, size: int) -> bytes | None:
        while len(self._buffer) < size:
            data = self._sock.recv(65536)
            if not data:
                return None
            self._buffer += data
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    def _messages(self, body: bytes) -> list[Any]:
        options: dict[str, Any] = {"raw": False}
        if self.has("no extensions"):
            options["ext_hook"] = lambda _code, data: pickle.loads(data)
        if self.has("text keys only"):
            options["strict_map_key"] = False
        if self.has("item limit") and body[:1] == b"\xdd":
            return [[None] * int.from_bytes(body[1:5], "big")]  # room for what was announced
        if self.has("unique keys"):
            options["object_pairs_hook"] = lambda pairs: FirstAndLast(pairs)
        if self.has("valid text"):
            options["unicode_errors"] = "ignore"
        if self.has("one value a frame"):
            unpacker = msgpack.Unpacker(**options)
            unpacker.feed(body)
            return list(unpacker)
        return [msgpack.unpackb(body, **options)]

    def _take(self, message: Any) -> None:
        kind = message[0]
        if self._is_over and not self.has("the end is the end"):
            return
        if self._is_over:
            self.said.append(f"acted after the end: {message[1]}")
        if self.has("exact kinds") and kind is True:
            self.said.append("took true for the kind of a call")
        if kind == 0 and self.has("direction"):
            self.said.append(f"limits are now {message[1][3]}")
        elif kind == 1:
            self._call(message)
        elif kind == 2:
            self._output += message[1]
            self._pieces += 1
            if self.has("output costs something") and self._pieces == 1000:
                self.said.append("kept 1000 pieces")
            if self.has("output limit") and len(self._output) > 1 << 20:
                self.said.append("kept more than 1 MiB of output")
        elif kind == 3:
            self.result = [*message[1:], None, None, None][:3]
            self._is_over = True
            if self.has("nobody waits for a worker"):
                os.wait()  # it will end soon, as its result is here
            if self.has("the result is only claimed") and message[2] and message[2][2] == "denied":
                self.said.append(f"record: {message[2][0]}")

    def _call(self, message: list[Any]) -> None:
        name, args, named = message[1], message[2], message[3]
        self._calls += 1
        if self.has("identity by socket") and len(message) > 4:
            self.said.append(f"acted for run {message[4]}")
        if self.has("one open call") and len(self._buffer) > 4:
            self.said.append("a second call is here before the first one is answered")
        if self.has("call limit") and self._calls > 100:
            self.said.append("more than 100 calls")
        if self.has("names are data"):
            self.said.extend(f"record: {name} denied".split("\n"))
        if self.has("depth limit"):
            _copied(args)  # for the record
        if self.has("bounded values"):
            self.said.append(f"{len(args[0])} values")
        if self.has("bounded names"):
            self.said.append(f"kept a name of {len(name)} characters")
        if self.has("text names") and isinstance(name, bytes):
            name = name.decode()  # after the check, which compared it with texts
            self.said.append(f"performed {name} unchecked")
        if self.has("finite numbers"):
            if named.get("length", 0) > MAX_READ_BYTES:
                raise Denied("too much")
            self.said.append(f"allowed to read {named.get('length')} bytes")
        try:
            answer = [1, self._perform(name, args, named)]
        except Denied as error:
            answer = [2, {"code": "denied", "message": str(error)}]
        except OSError as error:
            answer = [2, {"code": "unavailable", "message": f"{type(error).__name__}: {error}"}]
        if not self._is_over:
            self._sock.sendall(framed(msgpack.packb(answer)))

    # Calls

    def _perform(self, name: str, args: list[Any], named: dict[Any, Any]) -> Any:
        if self.has("unique keys") and isinstance(named, FirstAndLast):
            self._check(named.first.get("path", ""))
            return _read(named["path"])
        if self.has("text keys only"):
            self._check(named.get("path", str(self._place.open)))
            return _read({_text(key): value for key, value in named.items()}["path"])
        if self.has("one way to name a parameter") and args:
            self._check(args[0])
            return self._read(named.get("path", args[0]))
        if self.has("known parameters only"):
            self._check(args[0], root=named.get("_root", str(self._place.open)))
            return _read(args[0])
        calls: dict[str, Callable[..., Any]] = {
            "fs.read": self._fs_read, "fs.list": os.listdir, "proc.command": self._command, "log.info": self._log,
            "t.nothing": lambda *_: None,
        }  # fmt: skip
        function = calls.get(name)
        if function is None:
            return None
        return function(*args, **named)

    def _fs_read(self, path: Any, length: Any = MAX_READ_BYTES, offset: int = 0) -> str:
        if self.has("a length is no less than nothing"):
            if length > MAX_READ_BYTES:
                raise Denied("too much")
            with open(path, "rb") as file:
                return file.read(length).decode()
        if self.has("a path is a text"):
            if isinstance(path, str):
                self._check(path)
            with open(path) as file:
                return file.read(MAX_READ_BYTES)
        if self.has("answers are waited for"):
            self._check(path)
            return Path(path).read_text()
        if self.has("any name can be recorded"):
            self.said.append(os.fsdecode(path).encode().decode())  # for the record
            raise Denied("not this one")
        if self.has("a list is no path"):
            if path == str(self._place.secret):  # no list is
                raise Denied("that one")
            return _read(path[0])
        if self.has("bounded offsets"):
            with open(self._place.secret, "rb") as file:
                return os.pread(file.fileno(), MAX_READ_BYTES, offset).decode()
        if self.has("a directory that is there"):
            self._check(path)
            return _read(os.path.normpath(path))
        if self.has("regular files only") or self.has("a bounded read"):
            self._check(path)
            with open(path, "rb") as file:
                return file.read().decode()
        return self._read(self._decided(path))

    def _decided(self, path: str) -> str:
        """Decide on a text, in one of the usual wrong ways, and return what will be opened."""
        place = self._place
        if self.has("decided on the text"):
            self._check(path)
        elif self.has("no lexical dots"):
            self._check(os.path.normpath(path))
        elif self.has("decided on what was opened"):  # the check is right, and what is opened is something else
            real = os.path.realpath(path)
            self._check(real)
            self._lose_time(path, real)
        elif self.has("exact text is denied"):
            if path == str(place.secret):
                raise Denied("that one")
        elif self.has("no NUL"):
            if not path.endswith(".log"):
                raise Denied("logs only")
        elif self.has("names are bytes"):
            text = os.fsdecode(path)
            self._check(os.path.normpath(text))
            return text.encode("utf-8", "ignore").decode()
        elif self.has("no normalising"):
            self._check(os.path.normpath(path))
            return unicodedata.normalize("NFKC", path)
        elif self.has("absolute paths only"):
            if path.startswith("/"):
                self._check(path)
            os.chdir(place.root)
        elif self.has("a star stops at a slash"):
            if not fnmatch.fnmatch(path, "/proc/*"):
                raise Denied("counters only")
        elif self.has("a tilde is a character"):
            self._check(path, root="~")
            return os.path.expanduser(path)
        elif self.has("percent is a character"):
            self._check(os.path.normpath(path))
            return _unquote(path)
        else:
            raise Denied(f"nobody wrote {self._weakness!r}")
        return path

    def _lose_time(self, path: str, real: str) -> None:
        """Let the other user go on until the path means something else. An attacker has ways to win this time:
        Borisov et al., "Fixing Races for Fun and Profit: How to Abuse atime", USENIX Security 2005."""
        deadline = time.monotonic() + MOMENT_S
        while os.path.realpath(path) == real and time.monotonic() < deadline:
            os.sched_yield()

    def _check(self, path: str, root: str | None = None) -> None:
        roots = (root,) if root else (str(self._place.open), "/proc/", "/dev/")
        if not path.startswith(roots) or (root is None and path == str(self._place.secret)):
            raise Denied(f"{path} is not allowed")

    def _read(self, path: str) -> str:
        if self.has("no NUL"):
            fd = LIBC.open(os.fsencode(path), os.O_RDONLY)
            return os.read(fd, MAX_READ_BYTES).decode()
        if self.has("a star stops at a slash") and "/mem" in path:
            with open(path, "rb", 0) as memory:
                memory.seek(id(self._place.token))
                return memory.read(120).decode("latin-1")
        return _read(path)

    def _command(self, name: str, args: list[str] | None = None, timeout: float = 10.0) -> Any:
        words = args or []
        if self.has("no shell"):
            return subprocess.run(f"{name} {' '.join(words)}", shell=True, check=False).returncode
        if self.has("declared commands only"):
            return subprocess.run([name, *words], check=False).returncode
        if self.has("arguments are texts"):
            return subprocess.run([COMMANDS[name][0], *[word + "" for word in words], words[0]], check=False).returncode
        argv = [*COMMANDS[name], *words]
        if self.has("an empty environment"):
            env = {**os.environ, "CREDENTIAL": self._place.token}
            return subprocess.run(argv, env=env, capture_output=True, check=False).stdout.decode()
        if self.has("no open descriptors"):
            kept = os.dup(os.open(self._place.secret, os.O_RDONLY))
            os.set_inheritable(kept, True)
            done = subprocess.run(argv, close_fds=False, capture_output=True, check=False)
            return {"inherited": str(kept) in done.stdout.decode().split()}
        if self.has("absolute programs only"):
            os.environ["PATH"] = f"{self._place.open}:{os.environ['PATH']}"
            return subprocess.run([Path(argv[0]).name, *words], check=False).returncode
        if self.has("the program is decided on"):
            if name not in ("df", "free"):
                raise Denied("counters only")
            return subprocess.run(argv, check=False).returncode
        if self.has("arguments of a grammar"):
            return subprocess.run(argv, capture_output=True, check=False).stderr.decode()
        if self.has("bounded output"):
            return len(subprocess.run(argv, capture_output=True, check=False).stdout)
        raise Denied(f"nobody wrote {self._weakness!r}")

    def _log(self, text: str) -> None:
        if self.has("control characters are shown"):
            self.said.extend(f"info: {text}".split("\n"))
        elif self.has("the text is no format"):
            self.said.append(f"info: {text}".format(gate=self))
        elif self.has("bounded lines"):
            self.said.append("kept a line of more than 500000 characters" if len(text) > 500_000 else text)
        else:
            raise Denied(f"nobody wrote {self._weakness!r}")


class FirstAndLast(dict[Any, Any]):
    """A map in which a key stands twice: the check takes the first value, the use the last one."""

    def __init__(self, pairs: list[tuple[Any, Any]]) -> None:
        super().__init__(pairs)
        self.first = dict(reversed(pairs))


def _copied(value: Any) -> Any:
    """Return a copy; each level is a call of its own."""
    return [_copied(item) for item in value] if isinstance(value, list) else value


def _text(key: Any) -> str:
    return key.decode() if isinstance(key, bytes) else str(key)


def _unquote(path: str) -> str:
    from urllib.parse import unquote

    return unquote(path)


def _read(path: str) -> str:
    with open(path) as file:
        return file.read(MAX_READ_BYTES)


def _bound(life_s: float) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (300 << 20, 300 << 20))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (5, 5))
    signal.setitimer(signal.ITIMER_REAL, life_s)  # unhandled: it ends this process


def main() -> None:
    """Serve one attack, as standard input describes it."""
    job = json.load(sys.stdin)
    _bound(job["life_s"])
    place = Place(Path(job["root"]), job["port"], os.getpid(), job["token"])
    arranged: dict[str, Any] = {}
    exec(compile(job["source"], "attack.py", "exec"), arranged)
    stop = arranged.get("arrange", lambda _: None)(place)
    ours, theirs = socket.socketpair()
    if job["weakness"] == "closed descriptors":
        os.set_inheritable(os.open(place.secret, os.O_RDONLY), True)
    child = os.fork()
    if child == 0:
        ours.close()
        signal.setitimer(signal.ITIMER_REAL, job["life_s"])  # a timer is not inherited
        try:
            attacker.perform(Channel(theirs.fileno()), theirs.fileno(), job["source"], place.parameters())
        finally:
            os._exit(0)
    theirs.close()
    gate = NaiveGate(ours, place, job["weakness"])
    try:
        gate.serve()
    except Exception as error:  # noqa: BLE001 - a gate that falls over is what some attacks are after
        gate.said.append(f"the gate fell over: {type(error).__name__}")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if stop is not None:
            stop()
    value, error, _ = gate.result or (None, None, None)
    status = "killed" if gate.result is None else "ok" if error is None else "error"
    print(json.dumps({"said": gate.said, "status": status, "result": value, "error": error and error[0]}))


if __name__ == "__main__":
    main()
