"""Runs techniques: in the real sandbox, and in the one that each technique says how to weaken.

Zygotes are shared between techniques with the same walls. Whatever is weakened runs in a worker or a program of its
own, with bounds, and holds only canaries.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import types
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any, Final

from outcomes import Seen
from place import COMMANDS, Place
from technique import Technique

from cli.output import Output
from policies.decide import Effective, Layer, decide_effective
from policies.load import load_policy
from policies.model import Limits
from sandbox.budget import Budget
from sandbox.gate import Gate
from sandbox.jail.walls import WALLS
from sandbox.launch import Options, Outcome, Program, Sandbox
from sandbox.parties import Session
from stdlib.catalogue import load
from stdlib.host import Host, RunContext
from stdlib.processes.start import Processes

HERE: Final = str(Path(__file__).parent)
HUNG: Final = "the gate hung"
WALLS_WORD: Final = "walls"  # all of them, in the header of a technique of a language
LIFE_S: Final = 30.0  # of a naive gate; a slow machine needs seconds for what takes a tenth of one elsewhere
HUNG_S: Final = 1.5  # of one that is to hang: so long it is looked at
NAIVE_TIMEOUT_S: Final = 60.0
WEAKENED_WALL_S: Final = 60.0
_LANGUAGES: Final = {"lua": "main.lua", "luajit": "main.lua", "python": "main.py"}
_POLICY: Final = """
tier: inspect
extends: inspect
allow:
  - call: fs.*
    paths: [{open}/**, /proc/*, /proc/sys/**, /dev/*]
  - call: proc.command
    commands: [echo, env, endless, fds, tool]
  - call: log.*
  - call: check.*
deny:
  - call: fs.*
    paths: [{secret}]
"""


class Kept:
    """A recorder that keeps lines of the log as a reader sees them, and nothing else: that is tested elsewhere."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def check_room(self) -> None:
        """There is always room."""

    def record(self, **fields: Any) -> None:
        """Keep a line of the log that was taken, as ``outrider record`` shows it."""
        family, _, level = fields["call"].partition(".")
        if family == "log" and fields["outcome"] == "ok":
            shown = StringIO()
            Output(stdout=shown).data(fields["arguments"]["text"])
            self.lines.append(f"{level}: {shown.getvalue().strip()[1:-1]}")

    async def intend(self, **fields: Any) -> None:
        """Forget it."""


def limits_of(technique: Technique, times: float = 1.0) -> Limits:
    """Return the limits of one run; a weakened one may use ``times`` as much CPU."""
    wall_s = technique.wall_s if times == 1.0 else WEAKENED_WALL_S
    return Limits(
        wall_s=wall_s, cpu_s=technique.cpu_s * times, memory_bytes=technique.memory_mib << 20, calls=technique.calls
    )


def gate(place: Place, limits: Limits, run: RunContext, kept: Kept) -> Gate:
    """Return the real gate with the real catalogue, and a policy that lets one directory be read."""
    processes = Processes()
    run.on_end(processes.close)
    policy = load_policy(_POLICY.format(open=place.open, secret=place.secret), "battery.yaml")
    allowed = Effective((Layer(policy.name, policy.rules, policy.limits),))
    return Gate(
        load(),
        lambda call, facts: decide_effective(allowed, call, facts),
        kept,
        Session("s1", "r1", "attacker"),
        Budget(limits),
        Host(commands=COMMANDS, processes=processes),
        run,
        on_close=run.end,
    )


class Battery:
    """Keeps sandboxes, by the way they are started."""

    def __init__(self) -> None:
        self._sandboxes: dict[Options, Sandbox] = {}

    async def close(self) -> None:
        """End all of them."""
        await asyncio.gather(*(sandbox.close() for sandbox in self._sandboxes.values()))

    async def real(self, technique: Technique, place: Place) -> Seen:
        """Run a technique in the real sandbox, with the real gate and catalogue."""
        is_script = technique.group in _LANGUAGES
        options = Options() if is_script else Options(entry="attacker", import_path=(HERE,))
        seen = await self._run(technique, place, options, limits_of(technique), {})
        if technique.real.kind in ("differ", "again"):
            seen.again = (await self._run(technique, place, options, limits_of(technique), {})).value
        return seen

    async def weakened(self, technique: Technique, place: Place) -> Seen:
        """Run a technique where what it names is taken away."""
        if technique.group in ("calls", "channel"):
            return await self._naive(technique, place)
        if technique.group == "native":
            return await self._without_walls(technique, place)
        options = Options(
            entry="weakened",
            import_path=(HERE,),
            walls_off=frozenset(WALLS) if WALLS_WORD in technique.weakened else frozenset(),
        )
        parameters = {"weakened": list(technique.weakened), "token": place.token}
        limits = limits_of(technique, times=3.0)
        seen = await self._run(technique, place, options, limits, parameters)
        if technique.proof.kind == "same":
            seen.again = (await self._run(technique, place, options, limits, parameters)).value
        if technique.proof.kind == "again":
            seen.again = seen.value
        return seen

    async def without(self, technique: Technique, place: Place, *walls: str) -> Seen:
        """Run a technique of native code without these walls alone."""
        options = Options(entry="attacker", import_path=(HERE,), walls_off=frozenset(walls))
        return await self._run(technique, place, options, limits_of(technique), {})

    async def _without_walls(self, technique: Technique, place: Place) -> Seen:
        off = frozenset(technique.weakened)
        times = 3.0 if "deadline outside" in off else 1.0
        off -= {"deadline outside"}
        options = Options(entry="attacker", import_path=(HERE,), walls_off=off)
        return await self._run(technique, place, options, limits_of(technique, times), {})

    async def _run(
        self, technique: Technique, place: Place, options: Options, limits: Limits, more: dict[str, Any]
    ) -> Seen:
        stop = _arrange(technique, place)
        run, kept = RunContext(), Kept()
        try:
            sandbox = await self._sandbox(options)
            program = _program(technique, {**place.parameters(), **more})
            outcome = await sandbox.run(program, gate(place, limits, run, kept), limits)
        finally:
            stop()
        return _seen(outcome, technique, place, kept.lines)

    async def _sandbox(self, options: Options) -> Sandbox:
        if options not in self._sandboxes:
            self._sandboxes[options] = await Sandbox.start(bindings=load().bindings(), options=options)
        return self._sandboxes[options]

    async def _naive(self, technique: Technique, place: Place) -> Seen:
        job = {
            "source": technique.source, "weakness": technique.weakened[0], "root": str(place.root),
            "port": place.port, "token": place.token,
            "life_s": HUNG_S if technique.proof.detail == HUNG else LIFE_S,
        }  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            sys.executable, f"{HERE}/naive.py", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE, env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": HERE},
        )  # fmt: skip
        try:
            told, wrong = await asyncio.wait_for(process.communicate(json.dumps(job).encode()), NAIVE_TIMEOUT_S)
        except BaseException:
            process.kill()
            await process.wait()
            raise
        if process.returncode == -14:
            return Seen("killed", HUNG, None, place.token, technique.cpu_s)
        if process.returncode != 0:
            return Seen("killed", f"the gate ended: {wrong[-500:]!r}", None, place.token, technique.cpu_s)
        result = json.loads(told.decode().splitlines()[-1])
        return Seen(
            result["status"], result["error"], result["result"], place.token, technique.cpu_s,
            touched=place.touched.exists(), said=result["said"],
        )  # fmt: skip


def _program(technique: Technique, parameters: dict[str, Any]) -> Program:
    main = _LANGUAGES.get(technique.group)
    if main is None:
        return Program("native", "attack.py", {"attack.py": technique.source.encode()}, parameters)
    return Program(technique.group, main, {main: technique.source.encode()}, parameters)


def _arrange(technique: Technique, place: Place) -> Callable[[], None]:
    """Let the other local user of a technique do its part; return what ends it."""
    if technique.group != "calls":
        return lambda: None
    module = types.ModuleType("arranged")
    exec(compile(technique.source, technique.id, "exec"), module.__dict__)
    stop = module.__dict__.get("arrange", lambda _: None)(place)
    return stop or (lambda: None)


def _seen(outcome: Outcome, technique: Technique, place: Place, said: list[str]) -> Seen:
    return Seen(
        outcome.status,
        outcome.reason if not outcome.output.startswith(b"Traceback") else outcome.output.decode(),
        outcome.result,
        place.token,
        technique.cpu_s,
        cpu_s=outcome.usage.cpu_ms / 1000,
        peak_bytes=outcome.usage.peak_bytes,
        touched=place.touched.exists(),
        said=said,
    )
