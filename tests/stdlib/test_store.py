"""The store of scripts: what it keeps, what it refuses, and that no kill and no damage loses more than it says."""

from __future__ import annotations

import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from protocol.errors import ArgumentError, BudgetError, ConflictError, OutriderError, UnavailableError
from stdlib import store as stores
from stdlib.rates import Moment
from stdlib.store import MAX_KEYS, MAX_SCRIPT_BYTES, MAX_VALUE_BYTES, ScriptStore, Store, host_moment

KILLS = 8


class Time:
    """A host's clocks, moved by the test."""

    def __init__(self) -> None:
        self.boot, self.since_boot_us, self.wall_us = "boot-1", 5_000_000, 1_700_000_000_000_000

    def __call__(self) -> Moment:
        return Moment(self.boot, self.since_boot_us, self.wall_us)

    def move(self, seconds: float) -> None:
        self.since_boot_us += round(seconds * 1e6)
        self.wall_us += round(seconds * 1e6)

    def reboot(self, away_s: float) -> None:
        self.move(away_s)
        self.boot, self.since_boot_us = self.boot + "'", 1_000_000


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, time: Time, said: list[str]) -> Iterator[Store]:
    made = Store(tmp_path / "state.sqlite", now=time, on_damage=said.append)
    yield made
    made.close()


def reopened(store: Store, tmp_path: Path, time: Time, said: list[str]) -> Store:
    store.close()
    return Store(tmp_path / "state.sqlite", now=time, on_damage=said.append)


VALUES: list[Any] = [
    True, False, 0, -1, (1 << 64) - 1, 1.5, "", "text", "naïve", b"\xff\x00", [], {}, [1, [2, {"a": None}]], {"a": [1]}
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_what_is_put_in_comes_out_after_a_restart(
    store: Store, tmp_path: Path, time: Time, said: list[str], value: Any
) -> None:
    store.of("checks/a").set("k", value)
    again = reopened(store, tmp_path, time, said)
    found = again.of("checks/a").get("k")
    again.close()
    assert (found, type(found)) == (value, type(value))


def test_scripts_do_not_see_each_other(store: Store) -> None:
    one, other = store.of("checks/a"), store.of("checks/ab")
    one.set("k", 1)
    assert other.get("k") is None
    assert other.keys("") == []
    assert not other.delete("k")
    assert other.rate("k", 5)["reason"] == "first"
    assert other.is_first("k", 60)
    assert other.compare_and_set("k", None, 2)
    assert one.get("k") == 1


@pytest.mark.parametrize("name", ["checks/a", "checks/a' OR '1'='1", "", "checks/%"])
def test_no_name_reaches_another_script(store: Store, name: str) -> None:
    store.of("checks/other").set("k", 1)
    assert store.of(name).keys("") == []


def test_increments_from_many_threads_all_count(store: Store) -> None:
    def work() -> None:
        for _ in range(25):
            store.of("checks/a").increment("n", 1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.of("checks/a").get("n") == 100


def test_what_is_no_number_is_not_added_to(store: Store) -> None:
    own = store.of("checks/a")
    for value in ("5", True, [1]):
        own.set("k", value)
        with pytest.raises(ConflictError, match="no number"):
            own.increment("k", 1)
        assert own.get("k") == value


@pytest.mark.parametrize(("start", "by"), [((1 << 64) - 1, 1), (-(1 << 63), -1), (1.7e308, 1.7e308)])
def test_a_sum_that_cannot_be_kept_changes_nothing(store: Store, start: float, by: float) -> None:
    own = store.of("checks/a")
    own.set("k", start)
    with pytest.raises(ConflictError, match="out of range"):
        own.increment("k", by)
    assert own.get("k") == start


@pytest.mark.parametrize(
    ("found", "expected", "is_same"),
    [
        (1, 1, True), (1, 1.0, True), (1, True, False), (0, False, False), ("1", 1, False), ([], {}, True),
        ([1, {"a": 2}], [1, {"a": 2}], True), ([1], [1, 2], False), ({"a": True}, {"a": 1}, False), ("a", b"a", False),
    ],
)  # fmt: skip
def test_compare_and_set_compares_as_a_script_does(store: Store, found: Any, expected: Any, is_same: bool) -> None:
    own = store.of("checks/a")
    own.set("k", found)
    assert own.compare_and_set("k", expected, "new") is is_same
    assert own.get("k") == ("new" if is_same else found)


def test_compare_and_set_knows_absence(store: Store) -> None:
    own = store.of("checks/a")
    assert own.compare_and_set("k", None, 1)
    assert not own.compare_and_set("k", None, 2)
    assert own.compare_and_set("k", 1, None)
    assert own.get("k") is None
    assert own.compare_and_set("k", None, None)


def test_keys_are_listed_by_prefix(store: Store) -> None:
    own = store.of("checks/a")
    for key in ("b", "a/2", "a/1", "a", "%", "\udcff"):
        own.set(key, 1)
    assert own.keys("") == ["%", "a", "a/1", "a/2", "b", "\udcff"]
    assert own.keys("a/") == ["a/1", "a/2"]
    assert own.keys("_") == []


@pytest.mark.parametrize("key", ["", "x" * 201, "ä" * 101])
def test_keys_are_bounded(store: Store, key: str) -> None:
    with pytest.raises(ArgumentError, match="key: must be 1 to 200 bytes"):
        store.of("checks/a").get(key)


NESTED: list[Any] = [1]
for _ in range(8):
    NESTED = [NESTED]


@pytest.mark.parametrize(
    "value",
    [
        None, float("nan"), float("inf"), 1 << 64, "x" * MAX_VALUE_BYTES, NESTED, {"a": object()}, {1: 2}, "\ud800",
    ],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_what_cannot_be_kept_is_refused_before_anything_happens(store: Store, value: Any) -> None:
    own = store.of("checks/a")
    own.set("k", 1)
    with pytest.raises(ArgumentError, match="value: "):
        own.set("k", value)
    assert own.get("k") == 1


def test_a_script_keeps_no_more_keys_than_it_may(store: Store) -> None:
    own = store.of("checks/a")
    with store.transaction() as connection:
        for number in range(MAX_KEYS):
            own._write(connection, 0, b"%d" % number, b"\x91\x01")
    with pytest.raises(BudgetError, match="at most 1000 keys"):
        own.set("one more", 1)
    own.set("7", 2)  # there already
    assert own.delete("8")
    own.set("one more", 1)
    store.of("checks/b").set("k", 1)  # and nobody else is held up


def fill(own: ScriptStore, value: str) -> None:
    for number in range(100):
        own.set(str(number), value)


def test_a_script_keeps_no_more_bytes_than_it_may(store: Store) -> None:
    own, value = store.of("checks/a"), "x" * (MAX_VALUE_BYTES - 10)
    with pytest.raises(BudgetError, match=f"at most {MAX_SCRIPT_BYTES} bytes"):
        fill(own, value)
    assert len(own.keys("")) == MAX_SCRIPT_BYTES // MAX_VALUE_BYTES - 1
    own.set("0", 1)  # what makes room always passes
    own.set("again", value)


def test_all_scripts_together_keep_no_more_than_they_may(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "MAX_TOTAL_BYTES", 1000)
    store.of("checks/a").set("k", "x" * 700)
    with pytest.raises(BudgetError, match="all scripts of a host"):
        store.of("checks/b").set("k", "x" * 300)
    assert store.of("checks/b").get("k") is None


def test_totals_are_those_of_the_rows(store: Store, time: Time) -> None:
    own = store.of("checks/a")
    own.set("k", "x" * 100)
    own.set("k", 1)
    own.set("l", [1, 2])
    own.increment("n", 5)
    own.rate("n", 5)
    own.is_first("d", 60)
    own.delete("l")
    with store.transaction() as connection:
        counted = connection.execute("SELECT keys, bytes FROM totals").fetchall()
        real = connection.execute("SELECT count(*), sum(length(key) + length(value) + 64) FROM items").fetchall()
    assert counted == real


def test_rates_survive_a_restart_and_are_kept_apart_from_values(
    store: Store, tmp_path: Path, time: Time, said: list[str]
) -> None:
    assert store.of("checks/a").rate("rx", 1000)["reason"] == "first"
    time.move(10)
    again = reopened(store, tmp_path, time, said)
    assert again.of("checks/a").rate("rx", 1500)["per_second"] == 50.0
    assert again.of("checks/a").get("rx") is None
    time.reboot(60)
    assert again.of("checks/a").rate("rx", 1600)["reason"] == "reboot"
    time.move(1)
    assert again.of("checks/a").rate("rx", 1601)["per_second"] == 1.0
    again.close()


def test_a_reading_that_came_too_soon_is_not_kept(store: Store, time: Time) -> None:
    own = store.of("checks/a")
    own.rate("rx", 100)
    assert own.rate("rx", 150)["reason"] == "too_soon"
    time.move(10)
    assert own.rate("rx", 200)["delta"] == 100


def test_dedup_is_true_once_within_its_time(store: Store, time: Time) -> None:
    own = store.of("checks/a")
    assert own.is_first("full", 60)
    time.move(59)
    assert not own.is_first("full", 60)  # and asking did not make it longer
    assert own.is_first("other", 60)
    time.move(1)
    assert own.is_first("full", 60)


def test_dedup_counts_over_a_reboot_and_errs_towards_telling(store: Store, time: Time) -> None:
    own = store.of("checks/a")
    own.is_first("full", 3600)
    time.wall_us -= 86_400_000_000  # a step back, within one boot: the kernel's own time counts
    time.move(60)
    assert not own.is_first("full", 3600)
    time.reboot(60)
    assert own.is_first("full", 3600)  # nobody can tell how long ago it was
    time.reboot(60)
    assert not own.is_first("full", 3600)


def test_what_dedup_no_longer_needs_makes_room(store: Store, time: Time) -> None:
    own = store.of("checks/a")
    with store.transaction() as connection:
        for number in range(MAX_KEYS):
            own._write(connection, 2, b"%d" % number, b"\x93\xa0\x01\x01", time.wall_us - 1)
    assert own.is_first("new", 60)


def test_the_file_is_for_its_owner_alone(store: Store, tmp_path: Path) -> None:
    store.of("checks/a").set("k", 1)
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_link_in_its_place_is_not_followed(store: Store, tmp_path: Path) -> None:
    (tmp_path / "state.sqlite").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnavailableError):
        store.of("checks/a").set("k", 1)
    assert not (tmp_path / "elsewhere").exists()


def test_a_damaged_file_is_set_aside_and_said(store: Store, tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "state.sqlite").write_bytes(b"this is no database" * 1000)
    own = store.of("checks/a")
    own.set("k", 1)
    assert own.get("k") == 1
    (told,) = said
    (kept,) = tmp_path.glob("*.damaged-*")
    assert kept.name in told
    assert kept.read_bytes().startswith(b"this is no database")


def test_damage_found_while_it_is_open_is_set_aside_too(
    store: Store, tmp_path: Path, time: Time, said: list[str]
) -> None:
    own = store.of("checks/a")
    for number in range(200):
        own.set(str(number), "x" * 1000)
    store.close()
    path = tmp_path / "state.sqlite"
    whole = path.read_bytes()
    again = Store(path, now=time, on_damage=said.append)
    assert again.of("checks/a").get("1") == "x" * 1000
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with again.transaction() as connection:
        connection.execute("PRAGMA shrink_memory")
    with pytest.raises(UnavailableError, match="set aside"):
        [again.of("checks/a").get(str(number)) for number in range(200)]
    assert len(said) == 1
    again.of("checks/a").set("k", 1)
    assert again.of("checks/a").get("k") == 1
    again.close()


def test_damaged_files_do_not_pile_up(tmp_path: Path, time: Time) -> None:
    for _ in range(6):
        (tmp_path / "state.sqlite").write_bytes(b"no database" * 1000)
        made = Store(tmp_path / "state.sqlite", now=time)
        made.of("checks/a").set("k", 1)
        made.close()
        time.move(1)
    assert len(list(tmp_path.glob("*.damaged-*"))) == 3


def test_a_newer_format_is_refused_and_left_alone(store: Store, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "state.sqlite") as connection:
        connection.execute("PRAGMA user_version=99")
    before = (tmp_path / "state.sqlite").read_bytes()
    with pytest.raises(UnavailableError, match="update the agent"):
        store.of("checks/a").get("k")
    assert (tmp_path / "state.sqlite").read_bytes() == before


def test_a_full_disk_is_said_and_changes_nothing(store: Store) -> None:
    own = store.of("checks/a")
    own.set("k", 1)
    with store.transaction() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(UnavailableError, match="full"):
        fill(own, "x" * 10_000)
    assert own.get("k") == 1


def test_after_its_end_it_refuses(store: Store) -> None:
    store.close()
    with pytest.raises(OutriderError, match="closed"):
        store.of("checks/a").get("k")


WRITER = """
import sys
from pathlib import Path
from stdlib.store import Store
own = Store(Path(sys.argv[1])).of("checks/a")
while True:
    number = own.increment("n", 1)
    own.set("pair", [number, number])
    print(number, flush=True)
"""


def test_a_kill_at_any_moment_leaves_whole_transactions(tmp_path: Path) -> None:
    """Each said number is on disk, and no pair is torn: a call has happened, or it has not."""
    path, newest = tmp_path / "state.sqlite", 0
    for turn in range(KILLS):
        child = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        for _ in range(turn * 7 + 1):
            newest = int(child.stdout.readline())
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read().split("\n")
        child.wait()
        child.stdout.close()
        newest = max([newest, *(int(line) for line in rest[:-1] if line)])
        said: list[str] = []
        store = Store(path, now=host_moment, on_damage=said.append)
        own = store.of("checks/a")
        left, right = own.get("pair")
        number = own.get("n")
        store.close()
        assert said == []
        assert left == right
        assert newest <= number <= newest + 1
        assert number - 1 <= left <= number
