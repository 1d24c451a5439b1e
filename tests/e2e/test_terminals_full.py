"""Terminals with much to carry: sizes, floods, pastes, slow viewers and binary output."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

from seated import DEADLINE_S, SHELL, new_session, recorded, recorded_output, seated

from fleet import Fleet, is_kept


async def test_the_window_of_who_types_is_the_size_and_may_be_ten_thousand_columns_wide(host: Fleet) -> None:
    session = new_session(host)
    async with seated(host, session, **SHELL) as me:
        await me.sees("[#$] ")
        async with seated(host, session, "observer", size=(40, 10)) as other:
            await me.say(type="resize", size=[10_000, 10_000])
            await other.until(lambda: any(each.get("size") == [10_000, 10_000] for each in other.told), "the size")
            await other.say(type="resize", size=[20, 20])
            await me.type("stty size\r")
            await me.sees("10000 10000")
    events = recorded(host, session)
    assert [event.values for event in events if event.word == "resize"] == [[80, 24], [10_000, 10_000]]


async def test_ctrl_c_stops_a_flood_at_once(host: Fleet) -> None:
    """The aim is 100 ms to the shell; what is measured here includes what was printed being shown."""
    session = new_session(host)
    async with seated(host, session, **SHELL) as me:
        await me.sees("[#$] ")
        took_s: list[float] = []
        while not is_kept(took_s, 5.0):  # bench/ has the number
            before = me.offset
            await me.type("yes a-rather-long-line-of-output-again-and-again\r")
            await me.until(lambda before=before: me.offset > before + (1 << 20), "a flood")
            began = asyncio.get_running_loop().time()
            await me.type(b"\x03")
            at = me.offset
            await me.sees(r"\^C")
            took_s.append(asyncio.get_running_loop().time() - began)
            assert me.offset - at < 2 << 20, "no more was on its way than the windows hold"
        await me.type("echo after-$((1+1))\r")
        await me.sees("after-2")


async def test_a_giant_paste_arrives_whole_and_stops_nothing(host: Fleet) -> None:
    session = new_session(host)
    data = b"".join(b"%07d\n" % number for number in range(60_000))
    script = f"stty raw -echo; echo ready; head -c {len(data)} | sha256sum; stty echo; echo pasted"
    async with seated(host, session, argv=["/bin/sh", "-c", script]) as me:
        await me.sees("ready")  # what is typed before that is the kernel's to edit, and not a paste
        sent = 0
        taken = 0
        while sent < len(data):
            for message in me.told:
                if message["type"] == "taken":
                    taken = max(taken, message["bytes"])
            if sent - taken < 48 << 10:
                await me.type(data[sent : sent + 8192])
                sent += 8192
            else:
                count = len(me.told)
                await me.until(lambda count=count: len(me.told) > count, "room")
        await me.sees(hashlib.sha256(data).hexdigest())
        await me.hears("exit", code=0)


async def test_a_paste_that_is_printed_again_comes_to_no_standstill(host: Fleet) -> None:
    """Confirmations must not wait behind what was typed: cat would wait for its output, and we for cat."""
    session = new_session(host)
    async with seated(host, session, argv=["/bin/sh", "-c", "stty raw -echo; echo ready; head -c 900000"]) as me:
        await me.sees("ready")
        for _ in range(900_000 // 10_000):
            await me.type(b"x" * 10_000)
        await me.hears("exit", code=0)
    assert recorded_output(host, session).count(b"x") == 900_000


async def test_a_slow_viewer_holds_up_nobody_and_is_sent_on(host: Fleet) -> None:
    session = new_session(host)
    async with seated(host, session, **SHELL) as me:
        await me.sees("[#$] ")
        async with (
            seated(host, session, "observer", reads=False) as slow,
            seated(host, session, "observer") as fast,
        ):
            await me.type("seq 1 700000; echo all-$((1+1))\r")
            await me.sees("all-2")
            await fast.sees("all-2")
            told, shown = [], b""
            async with asyncio.timeout(DEADLINE_S):
                async for message in slow.socket:
                    if isinstance(message, str):
                        told.append(message)
                    else:
                        await slow.say(type="seen", offset=int.from_bytes(message[:8], "big") + len(message) - 8)
                        shown = shown[-10:] + message[8:]
                        if b"all-2" in shown:
                            break
            assert any('"skipped"' in message for message in told)


async def test_binary_output_comes_through_whole(host: Fleet, tmp_path: Path) -> None:
    data = bytes(range(256)) * 2000
    (tmp_path / "b").write_bytes(data)
    session = new_session(host)
    async with seated(host, session, argv=["/bin/sh", "-c", f"stty raw; cat {tmp_path}/b"]) as me:
        await me.hears("exit", code=0)
    assert data in recorded_output(host, session)
