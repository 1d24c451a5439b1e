"""The tests of a manifest, run in the real sandbox of this machine."""

from __future__ import annotations

from typing import Any

from cli.local.folder import Script
from cli.local.shelf import Shelf


async def run_tests(script: Script, shelf: Shelf) -> list[dict[str, Any]]:
    """Run the manifest's tests, each in a worker of its own; return name, result and differences of each."""
    from cli.local import running  # loads the sandbox, which --help does without
    from cli.local.expectations import broken_promises, differences
    from cli.local.fixtures import FixtureTable
    from cli.local.policies import tier_policy
    from sandbox.launch import Sandbox
    from stdlib.catalogue import load

    if not script.manifest.tests:
        return []
    catalogue = load()
    policy = tier_policy(script.manifest.tier)
    results = []
    sandbox = await Sandbox.start(bindings=catalogue.bindings())
    try:
        for test in script.manifest.tests:
            parameters = script.manifest.check_parameters(test.parameters)
            table = FixtureTable(catalogue, test.calls)
            ran = await running.run(sandbox, script, policy, table, parameters, running.Beside(shelf=shelf))
            found = differences(test.expect, ran) + broken_promises(script.manifest.result, ran)
            results.append({"name": test.name, "result": "failed" if found else "ok", "differences": found})
    finally:
        await sandbox.close()
    return results
