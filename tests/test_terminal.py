"""`bilevel` in plain lines in a true terminal: what a person sees, and what its loss does (nothing)."""

import os
import signal
import sys
from pathlib import Path

import pexpect
import pytest
from fast_sessions import left_behind, until, write_target

from engine.record.lock import holder
from engine.record.reader import Reader
from engine.record.view import View, fold


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_target(tmp_path / "target", seconds=0.4)
    return tmp_path


def bilevel(folder: Path, *words: str) -> pexpect.spawn:
    """`bilevel ...` in a terminal of 24 lines and 100 columns."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "TERM": "xterm-256color"}
    environment.pop("BILEVEL_DB", None)
    return pexpect.spawn(
        sys.executable,
        ["-m", "tui.cli", *words],
        cwd=str(folder),
        env=environment,
        dimensions=(24, 100),
        encoding="utf-8",
        timeout=30,
        preexec_fn=_as_in_a_shell,
    )


def _as_in_a_shell() -> None:
    """What a script runs in the background, these tests for one, ignores Ctrl-C, and what it starts does so too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run(folder: Path, *words: str) -> pexpect.spawn:
    settings = ["--target", "target", "--profile", "cpu", "--approval", "auto", "--no-confirm"]
    how = [] if "--headless" in words else ["--plain"]
    return bilevel(folder, "run", *settings, *how, *words)


def view(folder: Path) -> View:
    with Reader(folder / "sessions.db") as reader:
        return fold((row.seq, row.time, row.event) for row in reader.events(reader.resolve("last")))


async def test_the_engine_outlives_its_terminal(folder: Path) -> None:
    child = run(folder, "--trials", "4")
    child.expect("trial   1")
    child.close(force=True)  # the terminal is gone, and with it who watched
    await until(lambda: view(folder).status == "finished")
    assert view(folder).completed == 4
    assert holder(folder / "sessions.db") is None or left_behind(folder) == []


async def test_a_lost_connection_hangs_up_and_the_session_goes_on(folder: Path) -> None:
    child = run(folder, "--trials", "3")
    child.expect("trial   1")
    os.kill(child.pid, signal.SIGHUP)
    child.expect(pexpect.EOF)
    child.close()
    await until(lambda: view(folder).status == "finished")
    assert view(folder).completed == 3


async def test_ctrl_c_detaches_says_so_and_attach_comes_back(folder: Path) -> None:
    child = run(folder, "--trials", "4")
    child.expect("trial   1")
    child.sendintr()
    child.expect("detached: session .* goes on")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    again = bilevel(folder, "attach", "--plain")
    again.expect("trial   4")
    again.expect("finished")
    again.expect(pexpect.EOF)
    again.close()
    assert again.exitstatus == 0


async def test_ctrl_c_in_headless_form_ends_the_session(folder: Path) -> None:
    child = run(folder, "--trials", "40", "--headless")
    child.expect("trial   1")
    child.sendintr()
    child.expect("stopping session")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    await until(lambda: holder(folder / "sessions.db") is None)
    assert view(folder).status == "finished" and view(folder).status_by == "person"
    assert left_behind(folder) == []


def test_the_first_lines_say_that_a_stand_in_answers(folder: Path) -> None:
    child = run(folder, "--trials", "1")
    child.expect("STAND-IN")
    child.expect("estimate")
    child.expect("finished: the one trial is done")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
