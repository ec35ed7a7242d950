"""The application where the environment, the locale or the terminal itself is against it."""

import os
import select
import signal
import termios
from pathlib import Path

import pytest
import told_sessions as told
from terminal import Terminal


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A directory with the record of one finished session."""
    told.write(tmp_path / "sessions.db", told.whole())
    return tmp_path


# --- the environment --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "environ",
    [
        {"TEXTUAL_COLOR_SYSTEM": "foo", "TEXTUAL_DRIVER": "foo:Bar", "TEXTUAL_LOG": "/nowhere/log", "COLUMNS": "x"},
        {"TEXTUAL_SCREENSHOT": "0", "TEXTUAL_FPS": "1000000000", "TEXTUAL": "devtools", "TEXTUAL_PRESS": "q"},
    ],
)
def test_what_textual_reads_from_the_environment_breaks_nothing(recorded: Path, environ: dict[str, str]) -> None:
    with Terminal(recorded, "attach", told.NAME, **environ) as terminal:
        terminal.wait("1 Trials").keys("?").wait("Esc closes").keys("q").wait("7/7 trials")
        assert terminal.keys("q").exit_code() == 0
        assert terminal.output.endswith("came to\r\n")


def test_the_colours_that_a_terminal_is_said_to_have_are_believed(recorded: Path) -> None:
    with Terminal(recorded, "attach", told.NAME, COLORTERM="truecolor", TEXTUAL_COLOR_SYSTEM="256") as terminal:
        terminal.wait("1 Trials").wait("7/7 trials")
        assert "[38;5;" in terminal.output and "[38;2;" not in terminal.output


# --- the encoding -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "environ", [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"PYTHONIOENCODING": "ascii"}]
)
def test_a_locale_that_says_nothing_gets_utf8(recorded: Path, environ: dict[str, str]) -> None:
    with Terminal(recorded, "attach", told.NAME, size=(120, 40), **environ) as terminal:
        terminal.wait("╭─ 1 Trials").wait("✓ finished").wait("┤•⣀⣀")
        assert terminal.keys("q").exit_code() == 0


def test_another_encoding_that_was_chosen_gets_plain_lines_and_the_way_out(recorded: Path) -> None:
    with Terminal(recorded, "attach", told.NAME, PYTHONIOENCODING="latin-1") as terminal:
        assert terminal.exit_code() == 0
        assert "it is drawn in UTF-8, and this terminal is set to iso8859-1 (LC_ALL=C.UTF-8" in terminal.output
        assert not terminal.full and "confirmed  -1.3800" in terminal.text()
    with Terminal(recorded, "replay", PYTHONIOENCODING="latin-1") as terminal:
        assert terminal.exit_code() == 2


def test_a_path_that_is_no_text_breaks_nothing(tmp_path: Path) -> None:
    folder = tmp_path / os.fsdecode(b"\xff")
    folder.mkdir()
    told.write(tmp_path / "sessions.db", told.whole()).rename(folder / "sessions.db")
    there = f"import os, sys; os.chdir({os.fsencode(folder)!r}); from tui.cli import main; sys.exit(main())"
    with Terminal(tmp_path, "attach", told.NAME, size=(120, 40), program=("-c", there)) as terminal:
        terminal.wait("1 Trials").keys("o").wait("written: ").keys("q")
        assert terminal.exit_code() == 0 and list(folder.glob("*-trials.txt"))


# --- what is pasted ---------------------------------------------------------------------------------------------------
def test_a_paste_with_escape_characters_gives_no_command(recorded: Path) -> None:
    with Terminal(recorded, "attach", told.NAME, size=(120, 40)) as terminal:
        terminal.wait("1 Trials")
        for text in ("a\x1bXq", "\x1b]0;quiet\x07", "\x1b[Kq", "\x1b[20"):
            terminal.keys(f"\x1b[200~{text}\x1b[201~")
        terminal.keys("?").wait("Keys · Esc closes")
        terminal.keys("q").wait("7/7 trials").keys("q")
        assert terminal.exit_code() == 0


# --- a terminal that takes nothing ------------------------------------------------------------------------------------
def blocked(terminal: Terminal) -> Terminal:
    """Have it draw the whole screen again and again, and read nothing, until its main thread waits to write."""
    child, rested, used = terminal.child.fileno(), 0, 0.0
    main = f"/proc/{terminal.pid}/task/{terminal.pid}"
    for _ in range(3000):
        os.write(child, b"z")
        select.select([], [], [], 0.02)  # no more than one for each time that the screen is drawn
        before, used = used, processor_seconds(main)
        # A thread waits like this for the interpreter as well, but not for long.
        rested = rested + 1 if used == before and "futex" in Path(f"{main}/wchan").read_text() else 0
        if rested == 10:
            return terminal
    raise AssertionError("it was never blocked")


def processor_seconds(task: str) -> float:
    """What a process, or a thread, has used of a processor; by its directory in /proc."""
    fields = Path(f"{task}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_terminal_that_reads_again_finds_the_application_where_it_was(recorded: Path) -> None:
    with Terminal(recorded, "attach", told.NAME, size=(120, 40)) as terminal:
        terminal.wait("1 Trials").keys("4").wait("tabu_search")
        process = f"/proc/{blocked(terminal).pid}"
        used = processor_seconds(process)
        select.select([], [], [], 1.0)
        assert processor_seconds(process) - used < 0.3
        terminal.keys("?").wait("Esc closes").keys("q").wait("7/7 trials").wait("4 Mechanisms")
        assert terminal.keys("q").exit_code() == 0


def test_a_signal_ends_it_though_the_terminal_takes_nothing_and_leaves_it_as_it_was(recorded: Path) -> None:
    with Terminal(recorded, "attach", told.NAME, size=(120, 40)) as terminal:
        shell = termios.tcgetattr(terminal.child.fileno())
        terminal.wait("1 Trials").wait("✓ finished")
        os.kill(blocked(terminal).pid, signal.SIGTERM)
        terminal.wait_gone()
        read = len(terminal.output)
        assert terminal.exit_code() == 143
        assert not terminal.full and termios.tcgetattr(terminal.child.fileno()) == shell
        last = terminal.output[read:]
        assert "\x1b[?25h" in last and "\x1b[?1000l" in last, "the cursor is back, and the mouse is the terminal's"


@pytest.mark.parametrize(("key", "shown"), [("?", "Esc closes"), ("ctrl+p", "Search"), ("/", "A regular expression")])
def test_a_signal_gives_the_terminal_back_whatever_lies_over_the_screen(recorded: Path, key: str, shown: str) -> None:
    with Terminal(recorded, "attach", told.NAME) as terminal:
        terminal.wait("1 Trials").keys(key).wait(shown)
        os.kill(terminal.pid, signal.SIGTERM)
        assert terminal.exit_code() == 143 and not terminal.full


def test_a_lost_terminal_ends_it_while_it_takes_nothing(recorded: Path) -> None:
    with Terminal(recorded, "attach", told.NAME, size=(120, 40)) as terminal:
        terminal.wait("1 Trials")
        os.kill(blocked(terminal).pid, signal.SIGHUP)
        terminal.wait_gone()
