"""The command line over a record that is at rest: what each command prints, and how wrong input ends."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from told_sessions import NAME, beginning, created, mechanism, trials, whole, with_workspace, write

from engine.record import events as ev
from tui.cli import COMMANDS, main, overview, parser_of

ROOT = Path(__file__).parents[1]
PROMISED = (
    "run attach status tail pause resume stop kill-trial freeze unfreeze guide approve veto revert edit sessions show "
    "diff replay export extend fork backup prune init doctor bench"
)


class Shell:
    """Runs commands in this process, in a directory of their own."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.db = folder / "sessions.db"
        self._capture = capture

    def __call__(self, *words: str) -> tuple[int, str, str]:
        """Exit code, standard output and standard error of one command."""
        self._capture.readouterr()
        code = main(words)
        said = self._capture.readouterr()
        return code, said.out, said.err

    def refused(self, *words: str) -> str:
        """The one sentence with which wrong input is refused."""
        code, out, err = self(*words)
        assert (code, out) == (2, ""), (code, out, err)
        assert err.startswith("bilevel: ")
        assert err.count("\n") == 1
        return err.removeprefix("bilevel: ").strip()


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shell:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("BILEVEL_") or name.endswith("API_KEY")]:
        monkeypatch.delenv(name)
    return Shell(tmp_path, capsys)


@pytest.fixture
def told(shell: Shell) -> Shell:
    """The same with a record of one finished session and its workspace."""
    write(shell.db, with_workspace(shell.db, whole()))
    return shell


# --- help and wrong input ---------------------------------------------------------------------------------------------
def test_every_promised_command_is_there_and_named_in_the_overview() -> None:
    assert set(PROMISED.split()) <= COMMANDS.keys()
    assert all(f"  {name} " in overview() for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_shows_an_example_that_its_parser_accepts(shell: Shell, name: str) -> None:
    code, out, _ = shell(name, "--help")
    assert code == 0
    example = COMMANDS[name].example
    assert out.rstrip().endswith(f"example:\n  {example}")
    words = example.replace('"', "").split() if '"' not in example else [*example.split('"')[0].split(), "text"]
    assert words[:2] == ["bilevel", name]
    parser_of(COMMANDS[name]).parse_args(words[2:])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["statsu"], 'there is no command "statsu"; did you mean status?'),
        (["qqqqqq"], 'there is no command "qqqqqq"'),
        (["--db", "x", "status"], "options come after the command"),
        (["status", "--jsn"], "unrecognized arguments: --jsn"),
        (["run", "--trials", "many"], "argument --trials: invalid int value"),
        (["run", "--trials", "0"], "--trials: trials is 0"),
        (["run", "--levels", "1,7"], '"7" is none'),
        (["run", "--target", "nowhere"], "nowhere"),
        (["run", "--profile", "tpu"], "there is no profile"),
        (["run", "--headless", "--detach"], "not allowed with"),
        (["freeze"], "the following arguments are required: NAME"),
        (["extend", "--trials", "0"], "--trials is 0"),
        (["export"], "say what to export"),
        (["prune", "--days", "-1"], "--days is -1"),
        (["run", "--levels", ","], "1 is missing"),
        (["run", "--base-url", "http://127.0.0.1:9/v1"], "no model is named"),
        (["run", "--seconds", "1e308"], "--seconds: seconds is 1e+308"),
        (["run", "--trials", "9" * 23], "--trials: trials is 99,999"),
        (["run", "--notify", "no-such-program now"], "there is no program no-such-program"),
        (["run", "--notify", "'open"], "is no command line"),
        (["run", "--db", "none/a/x.db"], "there is no directory"),
        (["tail", "-n", "-1"], "--lines is -1"),
        (["init", "nowhere"], "there is no directory nowhere"),
        *[
            ([name], "there is no record at")
            for name in ("status", "tail", "show", "diff", "sessions", "resume", "pause")
        ],
        *[([name], "there is no record at") for name in ("approve", "edit", "attach", "fork", "stop")],
        (["backup", "copy.db"], "there is no record at"),
    ],
)
def test_wrong_input_gets_one_sentence_and_exit_code_2(shell: Shell, words: list[str], said: str) -> None:
    assert said in shell.refused(*words)


def test_a_file_that_is_no_record_is_refused(shell: Shell) -> None:
    (shell.folder / "notes.txt").write_text("not a database, but long enough to be read as one")
    assert "is not a database" in shell.refused("show", "--db", "notes.txt")


def test_an_unknown_session_is_refused_with_those_that_there_are(told: Shell) -> None:
    assert f"there are {NAME}" in told.refused("show", "1999")
    assert told("show", "2026", "--json")[0] == 0


def test_the_database_is_the_flags_then_the_variables_then_the_directorys(
    told: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BILEVEL_DB", str(told.folder / "other.db"))
    assert "other.db" in told.refused("sessions")
    assert told("sessions", "--db", "sessions.db")[0] == 0


# --- looking ----------------------------------------------------------------------------------------------------------
def test_show_prints_the_object_or_the_summary(told: Shell) -> None:
    shown = json.loads(told("show", "--json", "last")[1])
    assert (shown["session"], shown["best"]) == (NAME, {"trial": 3, "metric": 2.61})
    assert "STAND-IN" in told("show")[1]


def test_status_tells_an_ended_session_from_an_interrupted_one(told: Shell) -> None:
    status = json.loads(told("status", "--json")[1])
    assert (status["alive"], status["status"], status["trials"]) == (False, "finished", {"done": 7, "of": 7})
    other = "20261122-0000-late-owl"
    write(told.db, [created(other), *beginning()[1:], *trials()[:-2]], other)
    out = told("status", other)[1]
    assert "interrupted" in out
    assert f"bilevel resume {other}" in out
    third = "20261123-0000-long-night"
    went_on = ev.StateChanged(status="running", reason="a person resumed it", by="person")
    write(told.db, [created(third), *beginning()[1:], went_on], third)
    assert f"session  {third}: interrupted\n" in told("status", third)[1]
    assert f"session    {third}: running\n" in told("show", third)[1]


def test_what_an_engine_was_writing_is_shown_as_interrupted_once_it_is_gone(told: Shell) -> None:
    from engine.record.lock import EngineLock

    other = "20261122-0000-late-owl"
    write(told.db, [created(other), *beginning()[1:], mechanism()[0]], other)
    with EngineLock(told.db) as lock:
        lock.acquire(other, told.folder / "none.sock")
        assert "), written\n" in told("show", other, "--mechanism", "tabu_search")[1]
    assert "), interrupted before its tests had ended\n" in told("show", other, "--mechanism", "tabu_search")[1]


def test_status_tells_that_a_person_stopped_the_session_while_its_engine_is_there(told: Shell) -> None:
    from engine.record.lock import EngineLock

    other = "20261122-0000-late-owl"
    stop = ev.CommandApplied(command="stop", detail="it ends after trial-7")
    write(told.db, [created(other), *beginning()[1:], *trials()[:-1], stop], other)
    with EngineLock(told.db) as lock:
        lock.acquire(other, told.folder / "none.sock")
        assert f"session  {other}: running, ending after trial-7\n" in told("status", other)[1]
        assert json.loads(told("status", other, "--json")[1])["ending"] is True
    assert f"session  {other}: interrupted\n" in told("status", other)[1]
    assert json.loads(told("status", other, "--json")[1])["ending"] is False


def test_status_tells_the_difference_whether_it_may_be_noise_and_what_was_confirmed(told: Shell) -> None:
    other = "20261122-0000-late-owl"
    write(told.db, [created(other), *beginning()[1:]], other)
    out = told("status", NAME)[1]
    assert "trial 3: val_bpb 2.6100, -1.3867 to the baseline (beyond the noise when it was kept)\n" in out
    assert "         confirmed: -1.3800 over 2 fresh runs each, 95 % interval -1.4200 to -1.3400\n" in out
    status = json.loads(told("status", NAME, "--json")[1])
    assert (status["best"]["trial"], status["best"]["beyond_noise"]) == (3, True)
    assert status["best"]["difference"] == pytest.approx(2.61 - (3.98 + 4.01 + 4.0) / 3)
    assert status["confirmed"] == {"difference": -1.38, "interval": [-1.42, -1.34]}
    out = told("status", other)[1]
    assert "the baseline: no trial has ended yet (lowest val_bpb 3.9967)\n" in out and "over 2 fresh" not in out
    status = json.loads(told("status", other, "--json")[1])
    assert (status["best"]["trial"], status["best"]["difference"], status["best"]["beyond_noise"]) == (0, None, None)
    assert status["confirmed"] is None


def test_sessions_lists_the_newest_first(told: Shell) -> None:
    other = "20261122-0000-late-owl"
    write(told.db, [created(other, model="m"), *beginning()[1:]], other)
    listed = json.loads(told("sessions", "--json")[1])
    assert [(entry["session"], entry["state"]) for entry in listed] == [(other, "interrupted"), (NAME, "finished")]
    lines = told("sessions")[1].splitlines()
    assert lines[0].startswith("SESSION")
    assert lines[2].startswith(NAME)


def test_tail_prints_the_last_lines_or_events(told: Shell) -> None:
    assert told("tail", "-n", "1")[1] == "finished: all 7 trials are done\n"
    assert told("tail", "-n", "0")[1] == ""
    assert told("tail", "-f", "-n", "1")[1] == "finished: all 7 trials are done\n"
    last = [json.loads(line) for line in told("tail", "-n", "2", "--json")[1].splitlines()]
    assert [event["kind"] for event in last] == ["confirmed", "state_changed"]
    assert last[1]["seq"] == last[0]["seq"] + 1


def test_attach_to_an_ended_session_shows_how_it_ended(told: Shell) -> None:
    code, out, _ = told("attach")
    assert code == 0
    assert "confirmed  -1.3800" in out


def test_diff_is_unified_and_falls_back_on_the_record(told: Shell) -> None:
    out = told("diff")[1]
    assert "-BATCH = 64\n+BATCH = 32\n" in out
    (told.folder / ".bilevel").rename(told.folder / "moved")
    code, out, err = told("diff")
    assert (code, out) == (0, "BATCH 64 → 32\n")
    assert "gone from" in err


# --- commands to an engine, where none runs ---------------------------------------------------------------------------
@pytest.mark.parametrize(
    "words", [["pause"], ["stop", "--now"], ["freeze", "RATE"], ["approve"], ["edit"], ["guide", "x"]]
)
def test_without_an_engine_there_is_nothing_to_command(told: Shell, words: list[str]) -> None:
    assert "no session is running" in told.refused(*words)


def test_a_finished_session_is_extended_not_resumed(told: Shell) -> None:
    assert f"bilevel extend {NAME} --trials N" in told.refused("resume")


def test_an_engine_that_does_not_answer_is_said(told: Shell) -> None:
    from engine.record.lock import EngineLock

    with EngineLock(told.db) as lock:
        lock.acquire(NAME, told.folder / "none.sock")
        assert f"the engine of session {NAME} does not answer" in told.refused("pause")
        status = json.loads(told("status", "--json")[1])
        assert (status["alive"], status["engine"], status["pid"]) == (False, "silent", os.getpid())
        assert f"session {NAME} is running" in told.refused("run")
        assert "is still running" in told.refused("extend", "--trials", "3")


# --- as a process -----------------------------------------------------------------------------------------------------
def bilevel(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tui.cli", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def test_the_exit_code_reaches_the_shell(told: Shell) -> None:
    assert bilevel(told.folder, "show", "--json").returncode == 0
    failed = bilevel(told.folder, "show", "none")
    assert (failed.returncode, failed.stdout) == (2, "")
    assert bilevel(told.folder, "--version").stdout.startswith("bilevel ")
    assert bilevel(told.folder).stdout == overview()


def test_a_reader_that_leaves_early_is_no_traceback(told: Shell) -> None:
    command = f"{sys.executable} -m tui.cli export --events - | head -n 1"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = subprocess.run(command, shell=True, cwd=told.folder, env=environment, capture_output=True, text=True)
    assert found.stdout.count("\n") == 1
    assert found.stderr == ""


def test_commands_that_look_load_nothing_heavy(told: Shell) -> None:
    code = (
        "import sys; from tui.cli import main\n"
        "for words in (['show'], ['status', '--json'], ['sessions'], ['tail'], ['diff'], ['attach']): main(words)\n"
        "heavy = {'torch', 'textual', 'openai', 'numpy', 'aiosqlite'} & set(sys.modules)\n"
        "own = {name for name in sys.modules if name.startswith(('engine.session', 'engine.levels', 'engine.model'))}\n"
        "sys.exit(f'loaded: {heavy | own}' if heavy | own else 0)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=told.folder, env=environment, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr


def test_the_installed_command_is_this_one() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"]["bilevel"] == "tui.cli:main"
