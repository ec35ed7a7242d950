"""The writer when things go wrong: killed, no room, locked out, a long reader, cancelled. What it confirmed stays."""

import asyncio
import contextlib
import random
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import aiosqlite
import pytest
from record_files import created, end, line, note, notes, python, texts

from engine.record.reader import Reader
from engine.record.store import DiskFull, RecordError, RecordLocked, Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


# --- killed (every acknowledged event survives, and the chain is whole) -----------------------------------------------
WRITE = """
import asyncio, sys
from pathlib import Path
from record_files import note
from engine.record.store import Store

async def main():
    store = await Store.open(Path(sys.argv[1]))
    number = int(sys.argv[2])
    while True:
        await store.append("s", [note(f"{number}.{part}") for part in range(3)], [str(number).encode() * 2000])
        print(number, flush=True)
        number += 1
        if number % 20 == 0:
            await store.checkpoint()

asyncio.run(main())
"""


def kill_writers(path: Path, kills: int) -> None:
    moments = random.Random(31)
    following = 0
    for _ in range(kills):
        process = python(WRITE, path, following)
        assert line(process) == str(following)
        # A moment within the writes, not at a fixed place among them; what is asserted holds for every moment.
        time.sleep(moments.uniform(0, 0.1))
        process.kill()
        output, _ = process.communicate()
        complete = output[: output.rfind("\n") + 1].split()
        acknowledged = int(complete[-1]) if complete else following
        found = texts(path)
        assert found == [f"{number}.{part}" for number in range(len(found) // 3) for part in range(3)]
        following = len(found) // 3
        # The write under way when the kill came may be there or not; it was not acknowledged.
        assert following in (acknowledged + 1, acknowledged + 2)


def test_a_killed_writer_loses_nothing_that_was_acknowledged(path: Path) -> None:
    kill_writers(path, 5)


@pytest.mark.long
def test_a_hundred_killed_writers_lose_nothing_that_was_acknowledged(path: Path) -> None:
    kill_writers(path, 100)


# --- no room ----------------------------------------------------------------------------------------------------------
@contextlib.contextmanager
def tiny_disk(directory: Path) -> Iterator[Path]:
    """A file system of 1 MB at `directory`, where this user may mount one."""
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(directory)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("a file system of 1 MB cannot be mounted by this user; the page limit below gives the same error")
    try:
        yield directory
    finally:
        subprocess.run(["umount", str(directory)], check=True)


def noise(size: int = 20_000) -> bytes:
    return random.Random(size).randbytes(size)


async def fill(store: Store) -> int:
    """Append until the disk is full; return how many appends were acknowledged."""
    for number in range(1000):
        try:
            await store.append("s", [note(f"note {number}")], [noise(20_000 + number)])
        except DiskFull as error:
            assert "full" in str(error)
            return number
    raise AssertionError("the disk never filled")


async def test_a_full_disk_stops_writes_and_loses_nothing_once_there_is_room(tmp_path: Path) -> None:
    with tiny_disk(tmp_path / "disk") as disk:
        ballast = disk / "ballast"
        make_file(ballast, 500_000)
        store = await Store.open(disk / "sessions.db")
        count = await fill(store)
        assert count > 2
        with pytest.raises(DiskFull):
            await store.append("s", [note(f"note {count}")], [noise(400_000)])
        assert texts(store.path) == [event.text for event in notes(range(count))]
        ballast.unlink()
        await store.append("s", [note(f"note {count}")], [noise(20_000)])
        await store.close()
        assert texts(store.path) == [event.text for event in notes(range(count + 1))]


async def test_a_full_database_gives_the_same_error_and_recovers(path: Path) -> None:
    """SQLite's own page limit raises what a full disk raises, for users who may not mount a small file system."""
    store = await Store.open(path)
    await store.append("s", [note("note 0")])
    await pragma(store, "max_page_count = 40")
    with pytest.raises(DiskFull):
        await store.append("s", [note("note 1")], [noise(400_000)])
    assert texts(path) == ["note 0"]
    await pragma(store, "max_page_count = 4000")
    stamps = await store.append("s", [note("note 1")], [noise(400_000)])
    assert [stamp.seq for stamp in stamps] == [2]
    await store.close()
    assert texts(path) == ["note 0", "note 1"]


async def test_a_commit_that_failed_and_yet_took_place_is_not_doubled(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await Store.open(path)
    await store.append("s", [note("note 0")])
    execute = aiosqlite.Connection.execute_fetchall
    failures = 1

    async def lying(self: aiosqlite.Connection, sql: str, *args: object) -> object:
        nonlocal failures
        result = await execute(self, sql, *args)  # type: ignore[arg-type]
        if sql == "COMMIT" and failures:
            failures -= 1
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
            raise error
        return result

    monkeypatch.setattr(aiosqlite.Connection, "execute_fetchall", lying)
    with pytest.raises(DiskFull, match="SQLITE_IOERR_FSYNC"):
        await store.append("s", notes([1, 2]))
    assert [stamp.seq for stamp in await store.append("s", notes([1, 2]))] == [2, 3]
    assert [stamp.seq for stamp in await store.append("s", notes([1, 2]))] == [4, 5]
    await store.close()
    assert texts(path) == [event.text for event in notes([0, 1, 2, 1, 2])]


# --- locked by another process ----------------------------------------------------------------------------------------
HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
connection.execute("ROLLBACK")
connection.close()
"""


async def test_a_lock_held_beyond_the_patience_is_said_and_the_write_succeeds_after_it(path: Path) -> None:
    store = await Store.open(path, patience=0.3)
    await store.append("s", [note("note 0")])
    process = python(HOLD, path)
    assert line(process) == "held"
    with pytest.raises(RecordLocked, match="another process"):
        await store.append("s", [note("note 1")])
    assert texts(path) == ["note 0"]
    assert end(process) == 0
    await store.append("s", [note("note 1")])
    await store.close()
    assert texts(path) == ["note 0", "note 1"]


async def test_a_lock_that_is_released_in_time_is_waited_for(path: Path) -> None:
    store = await Store.open(path, patience=30)
    process = python(HOLD, path)
    assert line(process) == "held"
    appended = asyncio.create_task(store.append("s", [note("note 0")]))
    done, _ = await asyncio.wait([appended], timeout=0.3)
    assert not done
    assert end(process) == 0
    await appended
    await store.close()
    assert texts(path) == ["note 0"]


# --- a long reader ----------------------------------------------------------------------------------------------------
async def test_a_long_reader_is_said_and_the_wal_is_emptied_after_it(path: Path) -> None:
    store = await Store.open(path)
    await store.append("s", [note("note 0")])
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM events").fetchone()
    for number in range(1, 20):
        await store.append("s", [note(f"note {number}")], [noise(20_000 + number)])
    assert await store.checkpoint() is False
    assert store.wal_bytes > 300_000
    assert reader.execute("SELECT count(*) FROM events").fetchone() == (1,)
    reader.close()
    assert await store.checkpoint() is True
    assert store.wal_bytes == 0
    await store.close()


async def test_readers_of_this_program_do_not_keep_the_wal_from_being_emptied(path: Path) -> None:
    store = await Store.open(path)
    await store.append("s", [created(), *notes(range(2000))])
    with Reader(path) as reader:
        rows = reader.events("s")
        next(rows)
        reader.sessions()
        assert await store.checkpoint() is True
        assert store.wal_bytes == 0
        assert len(list(rows)) == 2000
    await store.close()


# --- cancelled --------------------------------------------------------------------------------------------------------
async def test_a_cancelled_append_is_settled_before_the_cancellation_is_raised(path: Path) -> None:
    store = await Store.open(path)
    for number in range(60):
        task = asyncio.create_task(store.append("s", [note(f"note {number}")]))
        # From "not begun" over every step of the transaction to "done".
        for _ in range(number % 20 + 1):
            await asyncio.sleep(0)
        task.cancel()
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() or task.result()
        assert texts(path) == [f"note {earlier}" for earlier in range(number + 1)]
    await store.close()


async def test_a_cancelled_append_that_could_not_be_written_leaves_nothing(path: Path) -> None:
    store = await Store.open(path, patience=0.2)
    process = python(HOLD, path)
    assert line(process) == "held"
    task = asyncio.create_task(store.append("s", [note("never")]))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as raised:
        await task
    assert isinstance(raised.value.__cause__, RecordLocked)
    assert end(process) == 0
    await store.append("s", [note("note 0")])
    await store.close()
    assert texts(path) == ["note 0"]


def test_a_loop_that_ends_with_a_write_under_way_ends_the_process(path: Path) -> None:
    """A connection left open would be a thread that keeps the interpreter alive."""
    code = """
import asyncio, sys
from pathlib import Path
from record_files import note
from engine.record.store import Store

async def main():
    store = await Store.open(Path(sys.argv[1]))
    await store.append("s", [note("note 0")])
    task = asyncio.create_task(store.append("s", [note("note 1")]))
    await asyncio.sleep(0)
    print("left", flush=True)

asyncio.run(main())
"""
    process = python(code, path)
    assert line(process) == "left"
    assert end(process) == 0
    assert texts(path) in (["note 0"], ["note 0", "note 1"])


async def pragma(store: Store, setting: str) -> None:
    await store._connection.execute_fetchall(f"PRAGMA {setting}")


def make_file(path: Path, size: int) -> None:
    path.write_bytes(bytes(size))


def test_record_errors_share_a_root() -> None:
    assert issubclass(DiskFull, RecordError) and issubclass(RecordLocked, RecordError)
