"""The application in a true terminal: what opens, what leaving says, and what signals and a lost terminal do."""

import os
import pty
import re
import signal
import subprocess
import sys
import termios
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import told_sessions as told
from fast_sessions import completed, engine_of, plan, read_view, until, write_target
from terminal import Terminal, environment

from engine.record.lock import holder

OTHER = "20261122-0000-late-owl"
TOO_SMALL = "bilevel needs a terminal of at least 60 x 16"
SETTINGS = ("--target", "target", "--profile", "cpu", "--approval", "auto", "--no-confirm", "--no-rehearsal")


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Path]:
    """A directory in which an engine runs session s1, two trials done."""
    write_target(tmp_path / "target", seconds=0.3)
    with engine_of(tmp_path / "sessions.db", plan(tmp_path / "target", trials=500)):
        await until(lambda: completed(tmp_path / "sessions.db") >= 2)
        yield tmp_path


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A directory with a record of two sessions: a finished one, and a later one that was interrupted."""
    db = tmp_path / "sessions.db"
    told.write(db, told.whole())
    told.write(db, [told.created(OTHER, model="m", seed=7), *told.beginning()[1:], *told.trials()[:6]], OTHER)
    return tmp_path


def some_trials(terminal: Terminal, folder: Path) -> Terminal:
    """Wait until the screen shows a search that has done two trials at least."""
    terminal.wait("1 Trials").wait("STAND-IN")
    return terminal.wait(
        lambda: completed(folder / "sessions.db") >= 2 and re.search(r"[2-9]/500 trials", terminal.text())
    )


def state_of(pid: int) -> str:
    """The letter of proc(5): T for a process that is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def engine_lives(folder: Path) -> bool:
    found = holder(folder / "sessions.db")
    return found is not None and found.session == "s1"


# --- a session that runs ----------------------------------------------------------------------------------------------
def test_attach_shows_the_session_and_q_leaves_it_running(running: Path) -> None:
    with Terminal(running, "attach", size=(120, 40)) as terminal:
        some_trials(terminal, running).wait("▸ running").wait("engine alive")
        assert terminal.full
        assert terminal.keys("q").exit_code() == 0
        assert not terminal.full
        assert "session s1 goes on; come back with: bilevel attach s1" in terminal.text()
        assert terminal.output.endswith("s1\r\n")
    done = completed(running / "sessions.db")
    with Terminal(running, "attach", "--plain") as terminal:
        terminal.wait(lambda: completed(running / "sessions.db") > done)
        assert not terminal.full


@pytest.mark.parametrize("key", ["ctrl+c", "ctrl+q"])
def test_the_usual_keys_leave_as_well(running: Path, key: str) -> None:
    with Terminal(running, "attach") as terminal:
        terminal.wait("1 Trials")
        assert terminal.keys(key).exit_code() == 0
        assert "goes on" in terminal.text()
    assert engine_lives(running)


@pytest.mark.parametrize("ignore_sighup", [False, True])
def test_a_lost_terminal_ends_the_viewer_and_not_the_engine(running: Path, ignore_sighup: bool) -> None:
    with Terminal(running, "attach", ignore_sighup=ignore_sighup) as terminal:
        some_trials(terminal, running)
        terminal.hang_up()
        terminal.wait_gone()
    done = completed(running / "sessions.db")
    with Terminal(running, "attach") as terminal:
        terminal.wait(lambda: completed(running / "sessions.db") > done)
    assert engine_lives(running)


def test_a_lost_terminal_that_sends_no_signal_ends_the_viewer_too(recorded: Path) -> None:
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "tui.cli", "attach", told.NAME]
    streams = {"stdin": slave, "stdout": slave, "stderr": slave}
    viewer = subprocess.Popen(command, cwd=recorded, env=environment(), start_new_session=True, **streams)
    os.close(slave)
    said = b""
    while b"Trials" not in said:
        said += os.read(master, 65_536)
    os.close(master)
    assert viewer.wait(30) == -signal.SIGHUP


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_gives_the_terminal_back(running: Path, number: int, code: int) -> None:
    with Terminal(running, "attach") as terminal:
        terminal.wait("1 Trials")
        before = terminal.output
        os.kill(terminal.pid, number)
        assert terminal.exit_code() == code
        assert not terminal.full
        last = terminal.output[len(before) :]
        assert "\x1b[?25h" in last and "\x1b[?1000l" in last, "the cursor is back, and the mouse is the terminal's"
    assert engine_lives(running)


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGTSTP])
def test_a_viewer_that_was_stopped_goes_on_and_gives_the_terminal_back(recorded: Path, number: int) -> None:
    with Terminal(recorded, "attach", told.NAME) as terminal:
        shell = termios.tcgetattr(terminal.child.fileno())
        terminal.wait("1 Trials")
        os.kill(terminal.pid, number)
        terminal.wait(lambda: state_of(terminal.pid) == "T")
        before = terminal.output
        os.kill(terminal.pid, signal.SIGCONT)
        terminal.wait(lambda: "\x1b[?1049h" in terminal.output[len(before) :]).wait("1 Trials")
        assert terminal.keys("q").exit_code() == 0
        assert not terminal.full and termios.tcgetattr(terminal.child.fileno()) == shell


def test_ctrl_z_goes_to_the_shell_and_fg_comes_back(recorded: Path) -> None:
    shell = ("-c", "import os; os.execvp('bash', ['bash', '--norc', '--noprofile', '-i'])")
    with Terminal(recorded, program=shell, PYTHON=sys.executable) as terminal:
        terminal.wait("bash-").write(f'"$PYTHON" -m tui.cli attach {told.NAME}\n').wait("1 Trials")
        assert terminal.full
        terminal.keys("ctrl+z").wait("Stopped")
        assert not terminal.full
        terminal.write("fg\n").wait(lambda: terminal.full).wait("1 Trials")
        terminal.keys("q").wait("has finished")
        assert not terminal.full
        terminal.write("exit\n").wait_gone()


def test_ctrl_z_stops_nothing_that_no_shell_would_bring_back(recorded: Path) -> None:
    with Terminal(recorded, "attach", told.NAME) as terminal:
        terminal.wait("1 Trials").keys("ctrl+z").wait("no shell waits below this")
        assert terminal.keys("q").exit_code() == 0


def test_an_engine_that_dies_is_said_at_once_and_when_leaving(running: Path) -> None:
    with Terminal(running, "attach", size=(120, 40)) as terminal:
        some_trials(terminal, running)
        found = holder(running / "sessions.db")
        assert found is not None
        os.kill(found.pid, signal.SIGKILL)
        terminal.wait("ENGINE GONE").wait("! interrupted")
        assert terminal.keys("q").exit_code() == 1
        assert "no engine runs session s1: `bilevel resume s1` takes it up again" in terminal.text()


def test_what_a_stopped_engine_was_asked_is_said_to_be_sent_until_it_answers(running: Path) -> None:
    with Terminal(running, "attach", size=(120, 40)) as terminal:
        some_trials(terminal, running)
        found = holder(running / "sessions.db")
        assert found is not None
        os.kill(found.pid, signal.SIGSTOP)
        try:
            terminal.keys("P").wait("pause: sent, no answer yet")
        finally:
            os.kill(found.pid, signal.SIGCONT)
        terminal.wait("✓ pause").wait(lambda: "no answer yet" not in terminal.text())
        assert terminal.keys("q").exit_code() == 0


def test_a_viewer_that_only_looks_has_no_keys_that_steer(running: Path) -> None:
    with Terminal(running, "attach", "--read-only", size=(120, 40)) as terminal:
        some_trials(terminal, running)
        assert "P Pause" not in terminal.text()
        terminal.keys("P", "?").wait("Application")
        assert "Pause the session" not in terminal.text()
        assert terminal.keys("q", "q").exit_code() == 0
    assert read_view(running / "sessions.db").status == "running"


def test_run_opens_the_application_once_the_engine_runs(tmp_path: Path) -> None:
    write_target(tmp_path / "target")
    with Terminal(tmp_path, "run", *SETTINGS, "--trials", "2") as terminal:
        terminal.wait("estimate").wait("1 Trials").wait("✓ finished").wait("2/2 trials")
        assert terminal.keys("q").exit_code() == 0
        assert "has finished: `bilevel show" in terminal.text()
        assert "estimate" in terminal.text(), "what was said before is still there"


# --- sizes and terminals ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
def test_a_session_fits_the_terminal(recorded: Path, size: tuple[int, int]) -> None:
    with Terminal(recorded, "attach", told.NAME, size=size) as terminal:
        terminal.wait("1 Trials").wait("✓ finished").wait("2.6100").wait("q Leave")
        shown = [name for name in ("Parameters ·", "Mechanisms ·", "5 Curve ─") if name in terminal.text()]
        assert len(shown) == (0 if size[0] < 100 else 3), "below 100 columns the panes are tabs"


def test_a_terminal_that_is_too_small_says_so_until_it_grows(recorded: Path) -> None:
    with Terminal(recorded, "attach", told.NAME, size=(50, 10)) as terminal:
        terminal.wait(TOO_SMALL)
        assert [line.strip() for line in terminal.lines() if line.strip()] == [TOO_SMALL]
        terminal.resize(120, 40).wait("1 Trials").wait("3 Parameters")
        terminal.resize(80, 24).wait("[1 Trials]")
        terminal.resize(120, 12).wait(TOO_SMALL)
        assert terminal.keys("q").exit_code() == 0


def test_a_dumb_terminal_gets_one_sentence_and_plain_lines(recorded: Path) -> None:
    with Terminal(recorded, "attach", told.NAME, TERM="dumb") as terminal:
        assert terminal.exit_code() == 0
        assert terminal.output.count("plain lines instead of the application: this terminal cannot hold it") == 1
        assert "confirmed  -1.3800" in terminal.text()
        assert "\x1b" not in terminal.output
    with Terminal(recorded, "replay", TERM="dumb") as terminal:
        assert terminal.exit_code() == 2
        assert "the application cannot be shown: this terminal cannot hold it (TERM is dumb)" in terminal.output
    with Terminal(recorded, TERM="dumb") as terminal:
        assert terminal.exit_code() == 0
        assert "usage: bilevel COMMAND" in terminal.output


def test_no_color_is_respected(recorded: Path) -> None:
    with Terminal(recorded, "attach", told.NAME, size=(120, 40), NO_COLOR="1", COLORTERM="truecolor") as terminal:
        terminal.wait("1 Trials").wait("✓ finished")
        colours = set(re.findall(r"[34]8;2;(\d+);(\d+);(\d+)", terminal.output))
        assert all(red == green == blue for red, green, blue in colours), colours


def test_a_defect_in_a_thread_ends_the_application_and_is_told(recorded: Path) -> None:
    broken = (
        "import tui.engine_watch as watch, tui.cli, sys\nwatch.look = lambda *given: 1 / 0\nsys.exit(tui.cli.main())"
    )
    with Terminal(recorded, "attach", told.NAME, size=(120, 40), program=("-c", broken)) as terminal:
        assert terminal.exit_code() == 1
        assert not terminal.full
        assert "ZeroDivisionError" in terminal.text()


# --- replay -----------------------------------------------------------------------------------------------------------
def test_replay_begins_at_the_first_event_or_at_a_trial(recorded: Path) -> None:
    with Terminal(recorded, "replay", told.NAME, size=(120, 40)) as terminal:
        terminal.wait("REPLAY").wait("event 1 of").wait("‖ held")
        terminal.keys("]").wait("event 5 of")
        assert terminal.keys("q").exit_code() == 0
    with Terminal(recorded, "replay", told.NAME, "--at", "3") as terminal:
        terminal.wait("REPLAY").wait("3/7 trials").wait("2.6100")
    with Terminal(recorded, "replay", told.NAME, "--at", "8") as terminal:
        assert terminal.exit_code() == 2
        assert f"session {told.NAME} has no trial 8: there are 0 to 7" in terminal.text()


@pytest.mark.parametrize("editor", ["no-such-editor", 'vi "'])
def test_an_editor_that_cannot_be_run_is_said_and_the_screen_comes_back(tmp_path: Path, editor: str) -> None:
    told.write(tmp_path / "sessions.db", [*told.beginning(), *told.trials()])
    with Terminal(tmp_path, "attach", size=(120, 40), EDITOR=editor) as terminal:
        terminal.wait("tabu_search active").keys("4", "e").wait(f"{editor} cannot be run")
        terminal.keys("?").wait("Keys · Esc closes").keys("q").wait("1 Trials")
        assert terminal.keys("q").exit_code() == 1


# --- the list ---------------------------------------------------------------------------------------------------------
def test_the_list_opens_a_session_and_comes_back(recorded: Path) -> None:
    with Terminal(recorded, size=(120, 40)) as terminal:
        terminal.wait("2 sessions").wait("✓ finished").wait("! interrupted").wait("-1.3867")
        rows = [line for line in terminal.lines() if line.startswith("  2026")]
        assert [row.split()[0] for row in rows] == [OTHER, told.NAME], "the newest first"
        terminal.keys("down").wait("tabu_search")
        terminal.keys("enter").wait("REPLAY").wait("7/7 trials")
        terminal.keys("l").wait("2 sessions").wait("mechanisms: tabu_search")
        terminal.keys("r").wait("event 1 of")
        assert terminal.keys("q").exit_code() == 0


def test_the_list_opens_what_runs_live_and_follows_it(running: Path) -> None:
    with Terminal(running, size=(120, 40)) as terminal:
        terminal.wait("1 session ").wait("▸ running")
        terminal.wait(lambda: re.search(r" [2-9]/500", terminal.text()))
        terminal.keys("enter").wait("engine alive").keys("l").wait("1 session ")
        assert terminal.keys("q").exit_code() == 0


def test_words_filter_the_list_by_what_was_written(recorded: Path) -> None:
    with Terminal(recorded) as terminal:
        terminal.wait("2 sessions").wait("! interrupted")
        terminal.keys("/").wait("words of a session")
        terminal.write("tabu fin").wait("1 of 2 sessions")
        assert OTHER not in terminal.text()
        terminal.write(" none").wait("no session has all of these words")
        terminal.keys("escape").wait(OTHER)


@pytest.mark.parametrize("size", [(60, 16), (80, 24)])
def test_the_list_cuts_no_name_and_no_number_and_keeps_its_footer(tmp_path: Path, size: tuple[int, int]) -> None:
    longest = "20261121-0310-gentle-kestrel"
    told.write(tmp_path / "sessions.db", [told.created(longest), *told.whole()[1:]], longest)
    with Terminal(tmp_path, size=size) as terminal:
        terminal.wait("-1.4200 to").wait("-1.3400").wait(longest).wait("? Help")
        lines = terminal.lines()
        assert " ⏎ Open" in lines[-1]
        row = next(line for line in lines if line.startswith(f"  {longest} "))
        assert row.endswith("-1.3867   -1.3800 STAND-IN" if size[0] == 80 else " 7/7 STAND-IN")


def test_two_sessions_are_compared(recorded: Path) -> None:
    with Terminal(recorded, size=(80, 24)) as terminal:
        terminal.wait("! interrupted").wait("✓ finished")
        terminal.keys("C").wait("mark two sessions")
        terminal.keys("space").wait("» ").keys("down", "C").wait("best so far").wait("≠ state")
        assert re.search(r"≠ model +m +STAND-IN offline", terminal.text())
        assert "not comparable" not in terminal.text()
        terminal.keys("end").wait("called 9")
        assert re.search(r"tabu_search +- +active, called 9", terminal.text())
        terminal.keys("q").wait("2 sessions")
        assert terminal.keys("q").exit_code() == 0


def test_an_empty_directory_is_told_what_to_do(tmp_path: Path) -> None:
    with Terminal(tmp_path) as terminal:
        terminal.wait("there is no record at").wait("bilevel run --quick")
        told.write(tmp_path / "sessions.db", told.whole())
        terminal.wait("✓ finished")
        assert terminal.keys("q").exit_code() == 0


def test_bytes_and_keys_that_cannot_be_end_nothing(recorded: Path) -> None:
    with Terminal(recorded, "attach", told.NAME) as terminal:
        terminal.wait("1 Trials")
        for raw in (b"\xe9 a\xff\xfe", b"\x1b[1114112;1u", b"\x1b[999999999999;1u"):
            os.write(terminal.child.fileno(), raw)
        # Sizes that cannot be, and none in pixels; then the mouse moves.
        for raw in (b"\x1b[48;0;0;0;0t", b"\x1b[48;99999;99999;1;1t", b"\x1b[48;30;100;0;0t", b"\x1b[<35;20;10M"):
            os.write(terminal.child.fileno(), raw)
        terminal.keys("?").wait("Esc closes").keys("q", "3").wait("3 Parameters")
        assert terminal.keys("q").exit_code() == 0


def test_enter_pressed_too_often_closes_the_dialogue_alone(recorded: Path) -> None:
    with Terminal(recorded, "attach", told.NAME) as terminal:
        terminal.wait("1 Trials").keys("/").wait("A regular expression").write("a\r\r\r\r")
        terminal.wait(lambda: "A regular expression" not in terminal.text()).wait("1 Trials")
        assert terminal.keys("q").exit_code() == 0


def test_leaving_in_the_midst_of_many_keys_says_what_leaving_says_alone(recorded: Path) -> None:
    with Terminal(recorded, "attach", told.NAME) as terminal:
        terminal.wait("1 Trials").write("?q" * 30 + "\x11")
        assert terminal.exit_code() == 0
        assert [line for line in terminal.lines() if line] == terminal.lines()[:2] and "has finished" in terminal.text()
