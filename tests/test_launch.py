"""Starting engines, and the commands that do: real engines over a target that answers at once."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fast_sessions import plan, read_view, write_target

from engine.errors import BilevelError, InputError
from engine.record.lock import holder
from engine.record.reader import Reader
from engine.record.view import Mechanism, View
from engine.tools import launch
from engine.tools.launch import engine_log, start_engine
from engine.tools.names import new_session_name

ROOT = Path(__file__).parents[1]
FAST = ("--target", "target", "--profile", "cpu", "--approval", "auto", "--levels", "1", "--no-confirm")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A directory with a target; an engine that still runs there at the end is ended."""
    write_target(tmp_path / "target")
    yield tmp_path
    for db in tmp_path.glob("*.db"):
        found = holder(db)
        if found is not None:
            os.kill(found.pid, signal.SIGTERM)
            wait_until_gone(db)


def bilevel(folder: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.endswith("API_KEY")}
    return subprocess.run(
        [sys.executable, "-m", "tui.cli", *words],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(ROOT), **environ},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def until(condition: Callable[[], bool], seconds: float = 40.0) -> None:
    """Wait for a condition; an AssertionError after so many seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not met within {seconds} s"
        time.sleep(0.05)


def wait_until_gone(db: Path) -> None:
    """Wait for the engine of a database to end."""
    until(lambda: holder(db) is None)


def active(view: View) -> list[Mechanism]:
    """The active mechanisms."""
    return [view.mechanisms[digest] for digest in view.active]


# --- the launcher -----------------------------------------------------------------------------------------------------
def test_an_engine_is_ready_detached_and_a_process_of_its_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A package of the same name in the current directory is not what is started.
    (folder / "engine").mkdir()
    (folder / "engine" / "__main__.py").write_text("raise SystemExit('the wrong engine')")
    monkeypatch.chdir(folder)
    db = folder / "x.db"
    started = start_engine(db, plan(folder / "target", trials=50, confirm=False))
    found = holder(db)
    assert found is not None
    assert (started.session, started.pid) == (found.session, found.pid) == ("s1", started.pid)
    assert os.getsid(started.pid) == started.pid
    assert Path(f"/proc/{started.pid}/fd/1").readlink() == engine_log(db, "s1")
    with pytest.raises(InputError, match="session s1 is running on"):
        start_engine(db, plan(folder / "target", "s2"))
    os.kill(started.pid, signal.SIGTERM)
    wait_until_gone(db)
    launch.reap()


def test_what_the_engine_refuses_is_raised_with_its_sentence(folder: Path) -> None:
    with pytest.raises(InputError, match="price"):
        start_engine(folder / "x.db", plan(folder / "target", model="m", base_url="http://127.0.0.1:1", max_cost=1.0))
    with pytest.raises(InputError, match="holds no session s9"):
        start_engine(folder / "x.db", {"resume": "s9"})


def test_an_engine_that_dies_before_it_is_ready_is_told_with_its_last_words(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nonexistent")
    with pytest.raises(BilevelError, match=r"ended before it was ready: .*its log is .*engine\.log"):
        start_engine(folder / "x.db", plan(folder / "target"))


def test_an_engine_that_stays_silent_is_given_up_and_ended(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = folder / "python"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setattr(launch.sys, "executable", str(slow))
    monkeypatch.setattr(launch, "READY_SECONDS", 0.3)
    with pytest.raises(BilevelError, match="was not ready"):
        start_engine(folder / "x.db", plan(folder / "target"))
    assert launch._started[-1].wait(10) == -signal.SIGTERM


def test_names_of_sessions_are_dated_readable_and_new() -> None:
    class First:
        def __init__(self) -> None:
            self.drawn = 0

        def choice(self, words: list[str]) -> str:
            self.drawn += 1
            return words[0 if self.drawn <= 2 else 1]

    name = new_session_name([], now=1795245000.0, rng=First())  # type: ignore[arg-type]
    assert name == "20261121-0710-amber-adder"
    assert new_session_name([name], now=1795245000.0, rng=First()) == "20261121-0710-brave-alder"  # type: ignore[arg-type]


# --- commands ---------------------------------------------------------------------------------------------------------
def test_run_extend_and_fork_one_after_the_other(folder: Path) -> None:
    ran = bilevel(folder, "run", "--headless", "--trials", "3", *FAST)
    assert ran.returncode == 0, ran.stderr
    lines = ran.stdout.splitlines()
    assert lines[0] == "model     offline: a STAND-IN, rules in a model's place"
    assert lines[1].startswith("settings  target fast, profile cpu")
    assert lines[2] == "search    levels 1, mechanisms let in by the trust rule alone"
    assert lines[3].startswith("estimate  6 training runs")
    assert lines[4].startswith("session   2")
    assert sum(line.startswith("trial ") for line in lines) == 3
    first = json.loads(bilevel(folder, "show", "--json").stdout)
    assert (first["status"], len(first["trials"])) == ("finished", 3)

    extended = bilevel(folder, "extend", "last", "--trials", "2", "--headless")
    assert extended.returncode == 0, extended.stderr
    assert read_view(folder / "sessions.db", first["session"]).completed == 5

    forked = bilevel(folder, "fork", "last", "--trials", "1", "--headless")
    assert forked.returncode == 0, forked.stderr
    with Reader(folder / "sessions.db") as reader:
        newest = reader.resolve("last")
    view = read_view(folder / "sessions.db", newest)
    parent = read_view(folder / "sessions.db", first["session"])
    assert newest != first["session"]
    assert view.settings.parent == first["session"]
    assert parent.history.best is not None
    assert view.space.initial == parent.history.best.config


def test_a_detached_session_is_steered_from_outside(folder: Path) -> None:
    write_target(folder / "target", seconds=0.3)
    started = bilevel(folder, "run", "--detach", "--trials", "200", *FAST)
    assert started.returncode == 0, started.stderr
    session = started.stdout.split()[-1]
    assert f"bilevel attach {session}" in started.stdout
    assert "paused" in bilevel(folder, "pause").stdout
    assert bilevel(folder, "pause", session).stdout == "it was paused already\n"
    assert bilevel(folder, "freeze", "WD").stdout == "WD is frozen from the next proposal on\n"
    refused = bilevel(folder, "freeze", "NOPE")
    assert refused.returncode == 2
    assert "there is no parameter NOPE" in refused.stderr
    status = json.loads(bilevel(folder, "status", "--json").stdout)
    assert (status["alive"], status["status"]) == (True, "paused")
    assert bilevel(folder, "resume", session).stdout == "it goes on\n"
    assert bilevel(folder, "run", *FAST).returncode == 2
    assert bilevel(folder, "stop", "--now").returncode == 0
    wait_until_gone(folder / "sessions.db")
    assert read_view(folder / "sessions.db", session).frozen_by_person.keys() == {"WD"}


def test_a_waiting_mechanism_is_edited_approved_and_reverted(folder: Path) -> None:
    words = ("--target", "target", "--profile", "cpu", "--approval", "ask", "--no-confirm", "--trials", "400")
    write_target(folder / "target", seconds=0.05)
    assert bilevel(folder, "run", "--detach", *words).returncode == 0
    db = folder / "sessions.db"
    session = holder(db).session  # type: ignore[union-attr]
    until(lambda: read_view(db, session).waiting is not None)
    waiting = read_view(db, session).waiting
    assert waiting is not None
    assert "not ffffff" in bilevel(folder, "approve", "--hash", "ffffff").stderr
    approved = bilevel(folder, "approve")
    assert approved.stdout.startswith(f"approve {waiting.name}, source {waiting.hash}\n")
    assert approved.returncode == 0, approved.stderr
    editor = folder / "editor.sh"
    editor.write_text('#!/bin/sh\necho "# a person was here" >> "$1"\n')
    editor.chmod(0o755)
    edited = bilevel(folder, "edit", waiting.name, EDITOR=str(editor))
    assert edited.returncode == 0, edited.stderr
    until(lambda: any(known.written_by == "person" for known in active(read_view(db, session))))
    assert [known.derived_from for known in active(read_view(db, session))] == [waiting.hash]
    assert "the editor false ended" in bilevel(folder, "edit", waiting.name, EDITOR="false").stderr
    assert "no active mechanism is called nothing" in bilevel(folder, "revert", "nothing").stderr
    reverted = bilevel(folder, "revert", waiting.name)
    assert reverted.returncode == 0, reverted.stderr
    assert bilevel(folder, "stop", "--now").returncode == 0
    wait_until_gone(db)


def test_an_interrupted_session_is_resumed(folder: Path) -> None:
    write_target(folder / "target", seconds=0.2)
    assert bilevel(folder, "run", "--detach", "--trials", "4", *FAST).returncode == 0
    found = holder(folder / "sessions.db")
    assert found is not None
    os.kill(found.pid, signal.SIGKILL)
    wait_until_gone(folder / "sessions.db")
    assert "interrupted" in bilevel(folder, "status").stdout
    resumed = bilevel(folder, "resume", "--headless")
    assert resumed.returncode == 0, resumed.stderr
    assert read_view(folder / "sessions.db", found.session).completed == 4


def test_quick_takes_a_key_only_with_a_terminal_or_when_told(folder: Path) -> None:
    words = ("run", "--quick", "--detach", "--target", "target", "--profile", "cpu", "--trials", "1", "--levels", "1")
    asked = bilevel(folder, *words, "--no-confirm", DEEPSEEK_API_KEY="a-secret-key")
    assert asked.returncode == 0, asked.stderr
    assert "no terminal to ask in: the stand-in is used" in asked.stdout
    assert "STAND-IN" in asked.stdout
    wait_until_gone(folder / "sessions.db")
    stated = folder / "target" / "target.toml"
    stated.write_text(f"{stated.read_text()}\n[profile.box]\nseconds = 0.001\n")
    boxed = ["box" if word == "cpu" else word for word in words]
    named = bilevel(folder, *boxed, "--no-confirm", "--model", "deepseek-chat", DEEPSEEK_API_KEY="a-secret-key")
    assert named.returncode == 0, named.stderr
    assert "STAND-IN" in named.stdout and "deepseek-chat" not in named.stdout
    wait_until_gone(folder / "sessions.db")
    endpoint = {"BILEVEL_BASE_URL": "http://127.0.0.1:9/v1", "DEEPSEEK_API_KEY": "a-secret-key"}
    told = bilevel(folder, *words, "--yes", "--no-confirm", **endpoint)
    assert told.returncode == 0, told.stderr
    assert "model     deepseek-chat" in told.stdout
    view = read_view(folder / "sessions.db", told.stdout.split()[-1])
    assert (view.settings.model, view.settings.approval, view.stand_in) == ("deepseek-chat", "auto", False)
    bilevel(folder, "stop", "--now")
    wait_until_gone(folder / "sessions.db")
    assert b"a-secret-key" not in (folder / "sessions.db").read_bytes()
