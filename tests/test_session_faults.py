"""Whole sessions on a failing machine: a full disk, a locked record, a stopped engine, a clock that jumps."""

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from fast_sessions import (
    SCRIPT,
    check_whole,
    completed,
    ended,
    engine_of,
    events,
    left_behind,
    opened,
    plan,
    read_view,
    until,
    write_target,
)

from engine.control import socket_path
from engine.control.client import send

TRIALS = 6


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "place" / "sessions.db"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return write_target(tmp_path / "target", seconds=0.2)


def trouble(db: Path) -> str | None:
    """What the engine answers to a ping."""
    answer = send(socket_path(db, "s1", os.environ), "ping")
    told = json.loads(answer.detail)["trouble"]
    return None if told is None else str(told)


# --- no room ----------------------------------------------------------------------------------------------------------
@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 64 MB at `folder`, where this user may mount one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("a file system of 64 MB cannot be mounted by this user")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(path: Path, leave: int) -> None:
    """Write until so many bytes are free."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while (free := shutil.disk_usage(path.parent).free) > leave:
            file.write(bytes(min(free - leave, 1 << 20)))


def training(folder: Path) -> list[int]:
    """The trainers alone: a supervisor may have to wait until there is room for its result."""
    return [pid for pid in left_behind(folder) if b"supervisor.py" not in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.parametrize("leave", [0, 8 << 20], ids=["to the last byte", "to 8 MB"])
async def test_a_full_disk_starts_no_new_trial_says_so_and_recovers(tmp_path: Path, target: Path, leave: int) -> None:
    with small_disk(tmp_path / "disk") as disk:
        db = disk / "sessions.db"
        with engine_of(db, plan(target, trials=TRIALS, confirm=False)) as process:
            await until(lambda: completed(db) >= 2 and training(disk) != [])
            fill(disk / "ballast", leave)
            await until(lambda: trouble(db) is not None and training(disk) == [])
            assert "full" in str(trouble(db))
            begun = sorted(path.name for path in (disk / ".bilevel/s1/runs").iterdir())
            for _ in range(20):
                assert trouble(db) is not None and process.poll() is None and training(disk) == []
            assert sorted(path.name for path in (disk / ".bilevel/s1/runs").iterdir()) == begun
            (disk / "ballast").unlink()
            await ended(process, db)
        check_whole(db, TRIALS)
        told = " ".join(event.text for event in events(db, "s1", "noted"))
        assert "is full: runs wait" in told and "there is room on the disk again" in told
        assert all(run.status in ("keep", "discard") for run in read_view(db).finished_runs.values())


# --- locked -----------------------------------------------------------------------------------------------------------
HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


def holding(db: Path) -> subprocess.Popen[str]:
    """A process that holds the record's write lock until it is spoken to."""
    command = [sys.executable, "-c", HOLD, str(db)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


async def test_a_lock_held_beyond_the_patience_is_said_and_nothing_is_lost(db: Path, target: Path) -> None:
    with engine_of(db, plan(target, trials=TRIALS, confirm=False)) as process:
        await until(lambda: completed(db) >= 2)
        holder = holding(db)
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        known = read_view(db).seq
        await until(lambda: trouble(db) is not None and left_behind(db.parent) == [])
        assert "another process holds the record" in str(trouble(db))
        assert read_view(db).seq == known and process.poll() is None
        holder.communicate("")
        await ended(process, db)
    check_whole(db, TRIALS)
    assert any("locked" in event.text and "nothing was lost" in event.text for event in events(db, "s1", "noted"))


async def test_a_long_reader_is_said_and_ends_nothing(db: Path, tmp_path: Path) -> None:
    async with opened(db, plan(write_target(tmp_path / "t"), trials=TRIALS, confirm=False)) as session:
        reader = sqlite3.connect(f"file:{db}?mode=ro", uri=True, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM events").fetchone()
        await session.session.run()
        assert session.journal.store.wal_bytes > 0
        reader.close()
        assert await session.journal.store.checkpoint() and session.journal.store.wal_bytes == 0
    check_whole(db, TRIALS)
    notes = [event.text for event in events(db, "s1", "noted")]
    assert len([text for text in notes if "a long reader" in text and "MB" in text]) == 1


# --- a stopped engine, a clock that jumps -----------------------------------------------------------------------------
async def test_a_stopped_engine_does_not_stall_the_trainer(db: Path, tmp_path: Path) -> None:
    """The run ends while the engine stands still, though it prints more than a pipe or a terminal would hold."""
    chatty = SCRIPT.replace(
        "for step in range(4):", "for step in range(40):\n    print('x' * 65536, end='\\r', flush=True)"
    )
    what = plan(
        write_target(tmp_path / "target", seconds=0.15, script=chatty), trials=1, confirm=False, baseline_runs=1
    )
    with engine_of(db, what) as process:
        await until(lambda: completed(db) >= 0 and read_view(db).running is not None and left_behind(db.parent) != [])
        running = read_view(db).running
        assert running is not None
        result = db.parent / f".bilevel/s1/runs/{running.started.run}.1/result.json"
        process.send_signal(signal.SIGSTOP)
        await until(lambda: result.exists())
        process.send_signal(signal.SIGCONT)
        await ended(process, db)
    view = read_view(db)
    assert (view.status, view.completed) == ("finished", 1)
    assert view.finished_runs[running.started.run].steps == 4


async def test_a_clock_that_jumps_ends_no_session_and_decides_nothing(
    db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = 0.0

    class Clock(SimpleNamespace):
        monotonic = staticmethod(time.monotonic)

        @staticmethod
        def time() -> float:
            return time.time() + ahead

    monkeypatch.setattr("engine.record.store.time", Clock())
    monkeypatch.setattr("engine.session.workshop.time", Clock())
    what = plan(write_target(tmp_path / "t", seconds=0.05), trials=18, confirm=False, hours=1, approval="grace")
    async with opened(db, {**what, "new": {**what["new"], "grace": 3600}}) as session:
        view = session.journal.view
        task = asyncio.create_task(session.session.run())
        await until(lambda: view.waiting is not None or task.done())
        assert view.waiting is not None and view.waiting.trusted
        ahead = 86_400.0
        await task
    assert (view.status, view.completed) == ("finished", 18)
    decided = events(db, "s1", "injection_decided")
    assert [event.by for event in decided] == ["engine"], decided
