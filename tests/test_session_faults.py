"""Whole sessions on a failing machine: a full disk, a locked or damaged record, a stopped engine, a clock that jumps."""

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
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fast_sessions import (
    SCRIPT,
    events,
    left_behind,
    opened,
    plan,
    read_view,
    run_session,
    start_engine,
    until,
    write_target,
)

from engine.control import socket_path
from engine.control.client import send
from engine.errors import InputError
from engine.record.reader import Reader
from engine.record.recovery import backup_path
from engine.record.schema import RecordError

IMPATIENT = str(Path(__file__).with_name("engine_impatient.py"))
TRIALS = 6


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "place" / "sessions.db"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return write_target(tmp_path / "target", seconds=0.2)


@contextlib.contextmanager
def engine_of(db: Path, what: dict[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
    """An engine with short waits; it is killed if the test leaves it running."""
    db.parent.mkdir(exist_ok=True)
    process = start_engine(db, what, IMPATIENT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def completed(db: Path) -> int:
    """Trials that the record knows as done."""
    try:
        return read_view(db).completed
    except (InputError, RecordError):
        return -1


def trouble(db: Path) -> str | None:
    """What the engine answers to a ping."""
    answer = send(socket_path(db, "s1", os.environ), "ping")
    told = json.loads(answer.detail)["trouble"]
    return None if told is None else str(told)


async def ended(process: subprocess.Popen[bytes], db: Path) -> None:
    assert await asyncio.to_thread(process.wait, 60) == 0, (db.parent / "engine.log").read_text()[-3000:]


def check_whole(db: Path, trials: int = TRIALS) -> None:
    """A full session: one result a run, an unbroken chain, no process left."""
    view = read_view(db)
    assert (view.status, view.completed) == ("finished", trials)
    results = Counter(event.run for event in events(db, "s1", "trial_finished"))
    assert set(results.values()) == {1} and len(results) == 3 + trials
    with Reader(db) as reader:
        assert reader.verify("s1") == view.seq
    assert left_behind(db.parent) == []


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


@pytest.mark.parametrize("leave", [0, 8 << 20], ids=["to the last byte", "to 8 MB"])
async def test_a_full_disk_starts_no_new_trial_says_so_and_recovers(tmp_path: Path, target: Path, leave: int) -> None:
    with small_disk(tmp_path / "disk") as disk:
        db = disk / "sessions.db"
        with engine_of(db, plan(target, trials=TRIALS, confirm=False)) as process:
            await until(lambda: completed(db) >= 2)
            fill(disk / "ballast", leave)
            await until(lambda: trouble(db) is not None and left_behind(disk) == [])
            assert "full" in str(trouble(db))
            begun = sorted(path.name for path in (disk / ".bilevel/s1/runs").iterdir())
            for _ in range(20):
                assert trouble(db) is not None and process.poll() is None and left_behind(disk) == []
            assert sorted(path.name for path in (disk / ".bilevel/s1/runs").iterdir()) == begun
            (disk / "ballast").unlink()
            await ended(process, db)
        check_whole(db)
        told = " ".join(event.text for event in events(db, "s1", "noted"))
        assert (
            "nothing was lost, and the session went on" if leave == 0 else "there is room on the disk again"
        ) in told
        assert all(run.status in ("keep", "discard") for run in read_view(db).finished_runs.values())


# --- locked -----------------------------------------------------------------------------------------------------------
HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


async def test_a_lock_held_beyond_the_patience_is_said_and_nothing_is_lost(db: Path, target: Path) -> None:
    with engine_of(db, plan(target, trials=TRIALS, confirm=False)) as process:
        await until(lambda: completed(db) >= 2)
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(db)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        known = read_view(db).seq
        await until(lambda: trouble(db) is not None and left_behind(db.parent) == [])
        assert "another process holds the record" in str(trouble(db))
        assert read_view(db).seq == known and process.poll() is None
        holder.communicate("")
        await ended(process, db)
    check_whole(db)
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
    check_whole(db)
    notes = [event.text for event in events(db, "s1", "noted")]
    assert len([text for text in notes if "a long reader" in text and "MB" in text]) == 1


# --- damaged between two engines --------------------------------------------------------------------------------------
def garbage_header(db: Path) -> None:
    with db.open("r+b") as file:
        file.write(os.urandom(100))


def truncated(db: Path) -> None:
    os.truncate(db, db.stat().st_size // 2)


def without_wal(db: Path) -> None:
    db.with_name("sessions.db-wal").unlink()


async def killed_after(db: Path, what: dict[str, Any], trials: int) -> dict[str, Any]:
    """An engine that is killed once so many trials are done; what its record then knew of each run."""
    with engine_of(db, what) as process:
        await until(lambda: completed(db) >= trials)
        process.kill()
        process.wait()
    await until(lambda: left_behind(db.parent) == [])
    return dict(read_view(db).finished_runs)


@pytest.mark.parametrize("trials", [3, 12], ids=["before a backup at trial 10", "after it"])
@pytest.mark.parametrize("damage", [garbage_header, truncated])
async def test_a_damaged_record_is_restored_and_what_had_trained_is_used(
    db: Path, tmp_path: Path, damage: Callable[[Path], None], trials: int
) -> None:
    what = plan(write_target(tmp_path / "target", seconds=0.02), trials=trials + 3, confirm=False)
    before = await killed_after(db, what, trials)
    damage(db)
    view = await run_session(db, {"resume": "s1"})
    check_whole(db, trials + 3)
    told = [note.text for note in view.notes]
    assert "was moved aside to sessions.db.broken-" in told[0] and "the backup of" in told[0]
    assert list(db.parent.glob("sessions.db.broken-*"))
    # Each run that the lost events told of has the result that it had, and did not train again.
    restored = [text.split()[0] for text in told if "had trained already" in text]
    assert restored and set(restored) <= set(before)
    for run, finished in before.items():
        assert (view.finished_runs[run].metric, view.finished_runs[run].log_blob) == (
            finished.metric,
            finished.log_blob,
        )


async def test_a_deleted_wal_is_said_and_the_session_goes_on(db: Path, target: Path) -> None:
    with engine_of(db, plan(target, trials=TRIALS, confirm=False)) as process:
        await until(lambda: completed(db) >= 2 and read_view(db).running is not None)
        process.kill()
        process.wait()
    without_wal(db)
    view = await run_session(db, {"resume": "s1"})
    check_whole(db)
    assert any("its -wal file is gone" in note.text for note in view.notes)


async def test_a_run_that_changed_a_fixed_file_stays_invalid_when_its_record_was_lost(db: Path, tmp_path: Path) -> None:
    script = SCRIPT.replace("random.seed", "if BATCH > 1024: open('fixed.py', 'w').write('x')\nrandom.seed")
    what = plan(write_target(tmp_path / "target", script=script), trials=5, confirm=False)
    before = await killed_after(db, what, 3)
    cheated = {run for run, finished in before.items() if finished.status == "invalid"}
    assert cheated
    garbage_header(db)
    view = await run_session(db, {"resume": "s1"})
    assert {run for run in before if view.finished_runs[run].status == "invalid"} == cheated


async def test_a_session_that_is_lost_with_its_record_is_said_with_what_was_done(db: Path, target: Path) -> None:
    await killed_after(db, plan(target, trials=TRIALS, confirm=False), 1)
    backup_path(db).unlink()
    garbage_header(db)
    with engine_of(db, {"resume": "s1"}) as process:
        assert await asyncio.to_thread(process.wait, 30) == 2
    said = (db.parent / "engine.log").read_text()
    assert "was moved aside to sessions.db.broken-" in said and "the record holds no session s1" in said


# --- a stopped engine, a clock that jumps -----------------------------------------------------------------------------
async def test_a_stopped_engine_does_not_stall_the_trainer(db: Path, tmp_path: Path) -> None:
    """The run ends while the engine stands still, though it prints more than a pipe or a terminal would hold."""
    chatty = SCRIPT.replace(
        "for step in range(4):", "for step in range(40):\n    print('x' * 65536, end='\\r', flush=True)"
    )
    what = plan(write_target(tmp_path / "target", seconds=2.0, script=chatty), trials=2, confirm=False, baseline_runs=1)
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
    assert (view.status, view.completed) == ("finished", 2)
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
    assert [event.by for event in events(db, "s1", "injection_decided")] == ["engine"]
