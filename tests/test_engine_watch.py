"""Whether an engine lives and answers: known within three seconds, and told with what to do."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
from fast_sessions import ended, engine_of, plan, until, write_target
from told_sessions import NAME, beginning, whole, write

from engine.record.lock import EngineLock, holder
from tui.engine_watch import EngineState, EngineWatch, look

KNOWN_WITHIN = 3.0


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


async def test_an_engine_that_is_stopped_or_killed_is_known_of_within_three_seconds(db: Path) -> None:
    target = write_target(db.parent / "target", seconds=0.3)
    seen: list[tuple[float, EngineState]] = []
    with engine_of(db, plan(target, trials=200)) as process:
        await until(lambda: (found := holder(db)) is not None and found.socket and Path(found.socket).exists())
        watch = EngineWatch(db, "s1", changed=lambda state: seen.append((time.monotonic(), state)))
        await until(lambda: watch.state == EngineState("answers", process.pid, ""))

        process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        await until(lambda: watch.state.state == "silent")
        assert seen[-1][0] - began < KNOWN_WITHIN
        assert f"kill -CONT {process.pid}" in watch.state.says and watch.state.pid == process.pid
        process.send_signal(signal.SIGCONT)
        await until(lambda: watch.state.state == "answers")

        process.kill()
        process.wait()
        began = time.monotonic()
        await until(lambda: watch.state.state == "gone")
        assert seen[-1][0] - began < KNOWN_WITHIN
        again = f"bilevel resume s1 --db {db}"
        assert watch.state.says == f"the engine is gone: `{again}` takes the session up again"
        watch.close()


async def test_a_session_that_has_ended_needs_no_engine(db: Path) -> None:
    target = write_target(db.parent / "target")
    with engine_of(db, plan(target, trials=1, baseline_runs=1, confirm=False)) as process:
        await ended(process, db)
    assert look(db, "s1") == EngineState("ended", None, "")


def test_another_sessions_engine_is_not_this_ones(db: Path) -> None:
    write(db, beginning())
    with EngineLock(db) as lock:
        lock.acquire("another", "")
        state = look(db, NAME)
    assert state.state == "gone" and "session another runs on the record" in state.says
    assert f"bilevel resume {NAME}" in state.says
    write(db, whole()[len(beginning()) :])
    assert look(db, NAME).state == "ended"


def test_an_engine_that_listens_nowhere_is_silent(db: Path) -> None:
    write(db, beginning())
    with EngineLock(db) as lock:
        lock.acquire(NAME, db.parent / "no.sock")
        state = look(db, NAME)
    assert (state.state, state.pid) == ("silent", os.getpid())
    assert f"kill {os.getpid()}" in state.says


def test_where_there_is_no_record_the_engine_is_gone(db: Path) -> None:
    assert look(db, NAME).state == "gone"


def test_a_lock_that_cannot_be_read_is_told_of(db: Path) -> None:
    write(db, beginning())
    lock = db.with_name("sessions.db.lock")
    lock.unlink(missing_ok=True)
    lock.symlink_to(lock)
    state = look(db, NAME)
    assert state.state == "silent" and "cannot be opened" in state.says


async def test_a_watch_that_is_closed_looks_no_more_and_keeps_nobody_waiting(db: Path) -> None:
    watch = EngineWatch(db, NAME)
    await until(lambda: watch.state.state == "gone")
    watch.close()
    watch.close()
    await until(lambda: watch._thread not in threading.enumerate())
