"""Kill -9 of the engine: every resume completes, with exactly one result a run and nothing acknowledged lost."""

import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fast_sessions import events, left_behind, plan, read_view, run_session, start_engine, until, write_target

from engine.errors import InputError
from engine.record.reader import Reader
from engine.record.store import RecordError

TRIALS = 6


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


def check_counts(db: Path, trials: int = TRIALS) -> None:
    """One result a run, every run of a full session, an unbroken chain, no process left."""
    view = read_view(db)
    assert (view.status, view.completed) == ("finished", trials)
    results = Counter(event.run for event in events(db, "s1", "trial_finished"))
    assert set(results.values()) == {1}
    wanted = {f"baseline-{n}" for n in range(1, 4)} | {f"trial-{n}" for n in range(1, trials + 1)}
    confirmed = {run for run in results if run.startswith("confirm-1-")}
    assert set(results) == wanted | confirmed and len(confirmed) in (0, 4)
    with Reader(db) as reader:
        assert reader.verify("s1") == view.seq
    assert left_behind(db.parent) == []


def known(db: Path) -> bool:
    """Whether the session has begun to be recorded."""
    try:
        with Reader(db) as reader:
            return reader.last_seq("s1") > 0
    except (InputError, RecordError):
        return False


def resumed(db: Path, first: dict[str, Any]) -> dict[str, Any]:
    return {"resume": "s1"} if known(db) else first


def to_the_end(db: Path, first: dict[str, Any]) -> None:
    for _ in range(5):
        if known(db) and read_view(db).status == "finished":
            return
        process = start_engine(db, resumed(db, first))
        assert process.wait(300) == 0, (db.parent / "engine.log").read_text()[-3000:]
    if read_view(db).status == "finished":
        return
    raise AssertionError("it was resumed five times and did not end")


def die_at(tmp_path: Path, write: int) -> None:
    db = tmp_path / "sessions.db"
    first = plan(write_target(tmp_path / "target"), trials=TRIALS)
    script = str(Path(__file__).with_name("engine_killed.py"))
    process = start_engine(db, first, script, BILEVEL_DIE_AT=str(write))
    if process.wait(60) == 0:
        assert read_view(db).status == "finished"  # the session had fewer writes
    else:
        assert process.returncode == -signal.SIGKILL, (db.parent / "engine.log").read_text()[-3000:]
        to_the_end(db, first)
    check_counts(db)


@pytest.mark.parametrize("write", [1, -1, 3, -4, 4, 5, -8, 9, 17, -22, 31, 40])
def test_killed_at_a_write_it_resumes_to_the_full_session(tmp_path: Path, write: int) -> None:
    die_at(tmp_path, write)


@pytest.mark.long
@pytest.mark.parametrize("write", [sign * n for n in range(1, 75) for sign in (1, -1)])
def test_killed_at_every_write_it_resumes_to_the_full_session(tmp_path: Path, write: int) -> None:
    die_at(tmp_path, write)


def killed_at_random_moments(db: Path, target: Path, kills: int, trials: int) -> None:
    """Kill the engine so often at random moments of one session, resuming it each time."""
    draw = random.Random(20)
    first = plan(target, trials=trials)
    for _ in range(kills):
        process = start_engine(db, resumed(db, first))
        while not known(db) and process.poll() is None:  # before there is a record, there is no session to go on with
            time.sleep(0.01)
        time.sleep(draw.uniform(0.0, 0.8))  # a moment of a session, not a wait for something
        process.kill()
        if process.wait() == 0:
            break
    if read_view(db).status != "finished":
        to_the_end(db, first)
    check_counts(db, trials)


def test_killed_at_random_moments_it_completes(db: Path, tmp_path: Path) -> None:
    killed_at_random_moments(db, write_target(tmp_path / "target", seconds=0.2), kills=5, trials=12)


@pytest.mark.long
def test_killed_at_fifty_random_moments_it_completes(db: Path, tmp_path: Path) -> None:
    killed_at_random_moments(db, write_target(tmp_path / "target", seconds=0.2), kills=50, trials=100)


async def test_a_trial_that_outlives_its_engine_is_taken_up_and_not_run_again(db: Path, tmp_path: Path) -> None:
    first = plan(write_target(tmp_path / "target", seconds=1.5), trials=1, confirm=False)
    process = start_engine(db, first)
    await until(lambda: known(db) and read_view(db).running is not None and read_view(db).running.progress is not None)
    process.kill()
    process.wait()
    run = read_view(db).running.started.run
    to_the_end(db, first)
    starts = [event for event in events(db, "s1", "trial_started") if event.run == run]
    assert len(starts) == 1 and events(db, "s1", "trial_lost") == []


async def test_when_engine_and_supervisor_die_the_run_is_swept_and_run_again(db: Path, tmp_path: Path) -> None:
    import os

    first = plan(write_target(tmp_path / "target", seconds=2.0), trials=1, confirm=False)
    process = start_engine(db, first)
    await until(lambda: known(db) and read_view(db).running is not None and read_view(db).running.progress is not None)
    process.kill()
    process.wait()
    os.kill(read_view(db).running.spawned.pid, signal.SIGKILL)
    to_the_end(db, first)
    lost = events(db, "s1", "trial_lost")
    assert len(lost) == 1 and left_behind(db.parent) == []
    starts = [event for event in events(db, "s1", "trial_started") if event.run == lost[0].run]
    assert [start.attempt for start in starts] == [1, 2]
    assert starts[0].config == starts[1].config and starts[0].seed == starts[1].seed


async def test_sigterm_leaves_the_session_for_the_next_engine(db: Path, tmp_path: Path) -> None:
    first = plan(write_target(tmp_path / "target", seconds=0.5), trials=3, confirm=False)
    process = start_engine(db, first)
    await until(lambda: known(db) and read_view(db).completed >= 1)
    process.terminate()
    assert process.wait(20) == 0
    assert read_view(db).status == "running"
    to_the_end(db, first)
    assert read_view(db).completed == 3


async def test_a_second_engine_on_the_database_exits_and_names_the_running_session(db: Path, tmp_path: Path) -> None:
    target = write_target(tmp_path / "target", seconds=0.5)
    process = start_engine(db, plan(target, trials=2, confirm=False))
    await until(lambda: known(db))
    with pytest.raises(InputError, match=r"session s1 is running on this database.*--db"):
        await run_session(db, plan(target, "s2"))
    assert process.wait(60) == 0
    with Reader(db) as reader:
        assert [row.id for row in reader.sessions()] == ["s1"]


async def test_a_session_is_resumed_as_it_was_recorded_even_if_its_target_has_changed(db: Path, tmp_path: Path) -> None:
    target = write_target(tmp_path / "target", seconds=0.4)
    process = start_engine(db, plan(target, trials=2, confirm=False))
    await until(lambda: known(db) and read_view(db).completed >= 1)
    process.kill()
    process.wait()
    (target / "target.toml").write_text("broken [")
    (target / "train.py").write_text("raise SystemExit(3)")
    to_the_end(db, {})
    assert read_view(db).completed == 2


async def test_a_finished_session_goes_on_when_it_is_given_more(db: Path, tmp_path: Path) -> None:
    target = write_target(tmp_path / "target")
    await run_session(db, plan(target, trials=16))
    with pytest.raises(InputError, match="extend"):
        await run_session(db, {"resume": "s1"})
    view = await run_session(db, {"resume": "s1", "extend": {"trials": 18}})
    assert (view.status, view.completed) == ("finished", 18)
    assert {run.split("-")[1] for run in view.finished_runs if run.startswith("confirm")} == {"1", "2"}
