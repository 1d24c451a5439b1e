"""Runs every example of docs/calls.md with ``outrider script run``. A program of its own, as it enters a village.

Those of a group of families and one language are one script, each in a function that tells how it ended: to start a
program five hundred times would say no more. Prints JSON: language -> call -> how its example ended, and whether its
call was made.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import textwrap
from itertools import groupby
from pathlib import Path
from typing import Any

from village import NoVillage, Village, enter

from stdlib.call_specs import CallSpec
from stdlib.catalogue import load

PLACE = Path("/tmp/examples")
DONE = "ok"
RUN_S = 300.0
MANIFEST = """\
name: examples/{name}
version: 1.0.0
language: {language}
main: main.{ending}
tier: admin
parameters: {{device: {{type: string}}}}
commands: {{df: [/usr/bin/df]}}
"""
POLICY = """\
tier: admin
extends: admin
allow:
  - call: "*"
    targets: ["*.example.org", "192.0.2.0/24", "[2001:db8::/32]", "127.0.0.1", "localhost"]
limits: {wall: 5m, cpu: 60s, memory: 256MiB, calls: 100000, output: 4MiB, open_files: 256, processes: 64}
"""
LUA = """\
local report = {{}}
local function try(name, example)
    local ok, failure = pcall(example)
    local told = type(failure) == "table" and failure.code .. ": " .. failure.message or tostring(failure)
    report[name] = ok and "ok" or told
end
{tries}
return report
"""
PYTHON = """\
report = {{}}
def attempt(name, example):
    try:
        example()
        report[name] = "ok"
    except HostError as failure:
        report[name] = failure.code + ": " + failure.message
    except Exception as failure:
        report[name] = str(failure)
{tries}
result = report
"""


def script_of(language: str, specs: list[CallSpec]) -> str:
    """The script that runs the examples of these calls one after the other."""
    tries = []
    for number, spec in enumerate(specs):
        body = textwrap.indent(spec.examples[language], "    ")
        if language == "lua":
            tries.append(f'try("{spec.name}", function()\n{body}\nend)')
        else:
            tries.append(f'def example_{number}():\n{body}\nattempt("{spec.name}", example_{number})')
    return (LUA if language == "lua" else PYTHON).format(tries="\n".join(tries))


async def outrider(*words: str) -> tuple[int, bytes, bytes]:
    """Run the real program."""
    environment = {**os.environ, "HOME": str(PLACE), "SSL_CERT_FILE": "/tmp/ca.pem"}
    program = Path(sys.executable).with_name("outrider")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(str(program), *words, env=environment, stdout=pipe, stderr=pipe)
    try:
        async with asyncio.timeout(RUN_S):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    return process.returncode or 0, out, err


def group_of(spec: CallSpec) -> str:
    """Whose script an example is a part of: that of a large family, or of all the others."""
    return spec.family if spec.family in ("fs", "net", "proc", "sys", "tty") else "others"


async def run_group(language: str, group: str, specs: list[CallSpec]) -> dict[str, Any]:
    """Run one script; return, for each call, how its example ended and whether the call was made."""
    name = f"{group}-{language}"
    folder = PLACE / name
    folder.mkdir(parents=True)
    ending = "py" if language == "python" else "lua"
    (folder / "manifest.yaml").write_text(MANIFEST.format(name=name, language=language, ending=ending))
    (folder / f"main.{ending}").write_text(script_of(language, specs))
    status, out, err = await outrider(
        "script", "run", str(folder), "--policy", str(PLACE / "policy.yaml"), "--arg", "device=sda",
        "--secret", f"db-password=@{PLACE / 'password'}", "--state", str(PLACE / "state"), "--json",
    )  # fmt: skip
    if status != 0:
        told = f"exit status {status}: {out.decode()[-2000:]} {err.decode()[-2000:]}"
        return {spec.name: {"ended": told, "made": False} for spec in specs}
    data = json.loads(out)
    made = {item["call"] for item in data["calls"]}
    return {
        spec.name: {"ended": data["result"].get(spec.name, "never ended"), "made": spec.name in made} for spec in specs
    }


async def run_all(languages: list[str], families: list[str]) -> dict[str, Any]:
    """Run them; see the module."""
    PLACE.mkdir()
    (PLACE / "policy.yaml").write_text(POLICY)
    (PLACE / "password").write_text("hunter2!")
    calls = sorted(load(), key=lambda spec: (group_of(spec), spec.name))
    found: dict[str, Any] = {language: {} for language in languages}
    async with Village() as village:
        for group, members in groupby(calls, key=group_of):
            specs = [spec for spec in members if not families or spec.family in families]
            for language in languages if specs else []:
                found[language] |= await run_group(language, group, specs)
        return {"ran": found, "missing": village.missing}


def main(words: list[str]) -> int:
    """``examples_run.py [LANGUAGE [FAMILY]...]``; exit status 3 if this machine allows no village."""
    try:
        enter()
    except NoVillage as error:
        print(json.dumps({"none": str(error)}))
        return 3
    print(json.dumps(asyncio.run(run_all(words[:1] or ["lua", "python"], words[1:]))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
