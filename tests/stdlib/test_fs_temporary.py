"""Temporary places are private, bounded, and gone with the run."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest
from running import perform, run

from protocol.errors import BudgetError
from protocol.tiers import Tier
from sandbox.launch import Sandbox
from stdlib.fs_temporary import MAX_TEMPORARIES
from stdlib.host import RunContext


async def test_private_and_gone() -> None:
    context = RunContext()
    file = Path(await perform("fs.tempfile", b"\xff", run=context))
    directory = Path(await perform("fs.tempdir", run=context))
    assert file.read_bytes() == b"\xff"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [stat.S_IMODE(path.stat().st_mode) for path in (file.parent, directory)] == [0o700, 0o700]
    (directory / "left").write_text("behind")
    file.unlink()
    ending = context.end()
    assert ending is not None
    await ending
    assert not any(path.exists() for path in (file.parent, directory))


async def test_what_a_script_moved_to_its_place_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Else who may rename could remove all that is in a directory, which nothing would tell of."""
    context = RunContext()
    made = Path(await perform("fs.tempdir", run=context))
    other = made.parent / f"{made.name}-other"
    (other / "deep").mkdir(parents=True)
    (other / "deep/kept").write_text("x")
    try:
        made.rmdir()
        await perform("fs.rename", str(other), str(made), run=context)
        ending = context.end()
        assert ending is not None
        await ending
        assert (made / "deep/kept").exists()
        assert "is not what was made for a run" in caplog.text
    finally:
        shutil.rmtree(made)


async def test_bounded() -> None:
    context = RunContext(temporaries=["/tmp/x"] * MAX_TEMPORARIES)
    with pytest.raises(BudgetError, match="temporaries"):
        await perform("fs.tempdir", run=context)


@pytest.mark.parametrize("end", ["", "error('x')", "while true do end"])
async def test_gone_however_the_run_ends(sandbox: Sandbox, end: str) -> None:
    source = f"local path = fs.tempfile('x') print(path) {end}"
    outcome = await run(sandbox, "lua", source, Tier.INSPECT)
    path = outcome.output.decode().strip()
    assert path.startswith("/"), outcome
    assert not os.path.exists(path)
