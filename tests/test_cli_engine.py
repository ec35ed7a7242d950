"""Commands to an engine that is stopped, whose record is gone, or that lost the race for the database."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fast_sessions import plan, read_view, write_target
from test_launch import FAST, bilevel, folder, until, wait_until_gone

from engine.errors import InputError
from engine.record.lock import EngineLock, Holder, holder
from engine.tools import launch
from engine.tools.launch import engine_log, hindrance, start_engine

__all__ = ["folder"]


def started(folder: Path) -> Holder:
    """A session of many trials that runs on its own."""
    write_target(folder / "target", seconds=0.2)
    ran = bilevel(folder, "run", "--detach", "--trials", "200", *FAST)
    assert ran.returncode == 0, ran.stderr
    found = holder(folder / "sessions.db")
    assert found is not None
    return found


def test_a_stopped_engine_is_neither_running_well_nor_interrupted(folder: Path) -> None:
    found = started(folder)
    os.kill(found.pid, signal.SIGSTOP)
    try:
        paused = bilevel(folder, "pause")
        assert paused.returncode == 2
        assert "has lapsed and does nothing later" in paused.stderr
        told = bilevel(folder, "status").stdout
        assert "now      the engine runs but does not answer; its last event came at 2" in told
        assert f"kill -CONT {found.pid}" in told
        assert "interrupted" not in told
        assert json.loads(bilevel(folder, "status", "--json").stdout)["engine"] == "silent"
    finally:
        os.kill(found.pid, signal.SIGCONT)
    status = json.loads(bilevel(folder, "status", "--json").stdout)
    assert (status["engine"], status["alive"], status["status"]) == ("answers", True, "running")
    assert bilevel(folder, "stop", "--now").returncode == 0
    wait_until_gone(folder / "sessions.db")
    assert json.loads(bilevel(folder, "status", "--json").stdout)["engine"] is None


def test_an_engine_whose_record_is_gone_is_still_reached(folder: Path) -> None:
    found = started(folder)
    (folder / "sessions.db").rename(folder / "moved.away")
    told = bilevel(folder, "status")
    assert told.returncode == 1
    assert f"session  {found.session}: its process {found.pid} runs and answers" in told.stdout
    assert "there is no record at" in told.stdout
    assert json.loads(bilevel(folder, "status", "--json").stdout)["pid"] == found.pid
    assert bilevel(folder, "stop", "another").returncode == 2
    stopped = bilevel(folder, "stop", "--now")
    assert stopped.returncode == 0, stopped.stderr
    assert f"by its lock, session {found.session} runs" in stopped.stderr
    # It may wait for its record before it goes; whoever has none to put back ends the process, as they were told.
    assert f"`kill {found.pid}` ends it" in stopped.stderr
    with contextlib.suppress(ProcessLookupError):
        os.kill(found.pid, signal.SIGTERM)
    wait_until_gone(folder / "sessions.db")
    assert "there is no record at" in bilevel(folder, "stop").stderr


def test_a_session_that_a_person_stopped_goes_on_when_it_is_resumed(folder: Path) -> None:
    write_target(folder / "target", seconds=0.1)
    db = folder / "sessions.db"
    assert bilevel(folder, "run", "--detach", "--trials", "6", *FAST).returncode == 0
    found = holder(db)
    assert found is not None
    until(lambda: completed_of(db, found.session) >= 1)
    assert bilevel(folder, "stop").returncode == 0
    wait_until_gone(db)
    assert read_view(db, found.session).status == "finished"
    assert completed_of(db, found.session) < 6
    resumed = bilevel(folder, "resume", "--headless")
    assert resumed.returncode == 0, resumed.stderr
    assert completed_of(db, found.session) == 6


def completed_of(db: Path, session: str) -> int:
    return read_view(db, session).completed


def test_who_loses_the_race_for_a_database_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    db = folder / "x.db"
    with EngineLock(db) as lock:
        lock.acquire("the-first", "/nowhere")
        monkeypatch.setattr(launch, "holder", lambda _: None)  # it looked before the first had begun
        with pytest.raises(InputError, match="the-first is running"):
            start_engine(db, plan(folder / "target", "second"))
        assert not engine_log(db, "second").parent.exists()
        engine_log(db, "third").parent.mkdir(parents=True)
        with pytest.raises(InputError, match="the-first is running"):
            start_engine(db, plan(folder / "target", "third"))
        assert engine_log(db, "third").exists()


def test_a_database_in_a_directory_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(InputError, match="there is no directory"):
        start_engine(folder / "none" / "x.db", plan(folder / "target"))
    assert not (folder / "none").exists()


def test_what_a_start_waits_for_is_told_while_it_waits(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = folder / "engine.log"
    log.write_text("of an earlier engine\n")
    before = log.stat().st_size
    assert hindrance(folder / "x.db", log, before) == ""
    with log.open("a") as file:
        file.write("one\nthe disk is \x1b[2Jfull\n")
    assert hindrance(folder / "x.db", log, before) == "the disk is [2Jfull"
    monkeypatch.setattr(launch, "FULL", 1 << 62)
    assert hindrance(folder / "x.db", log, before).startswith(f"the disk of {folder} is full")


WAITS = """\
import threading
from tui import waiting
waiting.PATIENCE = 0.0
done = threading.Event()
def why():
    done.set()
    return "the disk is full"
with waiting.Waiting("the engine starts (Ctrl-C gives up)", why):
    done.wait(10)
"""


def test_a_line_of_waiting_says_how_to_leave_and_what_it_waits_for() -> None:
    root = Path(__file__).parents[1]
    found = subprocess.run([sys.executable, "-c", WAITS], cwd=root, capture_output=True, text=True, timeout=30)
    assert found.stderr == "the engine starts (Ctrl-C gives up) ...: the disk is full\n"
