"""A record that is damaged between two engines of a session: what is restored, what is used again, what is said."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fast_sessions import (
    SCRIPT,
    check_whole,
    completed,
    engine_of,
    left_behind,
    plan,
    read_view,
    run_session,
    until,
    write_target,
)

from engine.record.recovery import backup_path

TRIALS = 6


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "place" / "sessions.db"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return write_target(tmp_path / "target", seconds=0.2)


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
    check_whole(db, TRIALS)
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
