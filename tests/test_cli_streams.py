"""The command line where its output is closed, full or plain: no traceback, and one sentence."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from told_sessions import INITIAL, created, run, whole, with_workspace, write

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the record of one finished session."""
    folder = tmp_path_factory.mktemp("told")
    write(folder / "sessions.db", whole())
    return folder


def shell(folder: Path, line: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A line of a shell, in which `bilevel` is the command."""
    script = f'bilevel() {{ "{sys.executable}" -m tui.cli "$@"; }}; {line}'
    kept = {**os.environ, "PYTHONPATH": str(ROOT), **environ}
    return subprocess.run(["sh", "-c", script], cwd=folder, env=kept, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("command", ["sessions", "show --json", "tail", "--help", "export --events -"])
def test_a_full_output_is_one_sentence(folder: Path, command: str) -> None:
    found = shell(folder, f"bilevel {command} >/dev/full")
    assert found.stderr == "bilevel: standard output cannot be written: No space left on device\n"
    assert found.returncode == 1


def test_a_closed_output_is_one_sentence_and_the_record_is_not_written_to(folder: Path) -> None:
    before = (folder / "sessions.db").read_bytes()
    found = shell(folder, "bilevel sessions >&-")
    assert found.stderr == "bilevel: standard output is closed: what was to be said there is lost\n"
    assert found.returncode == 1
    assert shell(folder, "bilevel sessions <&- >&- 2>&-").returncode == 1
    assert shell(folder, "bilevel show nothing 2>&-").returncode == 2
    assert (folder / "sessions.db").read_bytes() == before


def test_wrong_input_beside_a_full_output_is_said_alone(folder: Path) -> None:
    found = shell(folder, "bilevel show nothing >/dev/full")
    assert (found.returncode, found.stderr.count("\n")) == (2, 1)


def test_an_output_without_arrows_gets_plain_ones(folder: Path) -> None:
    found = shell(folder, "bilevel tail", PYTHONIOENCODING="ascii")
    assert (found.returncode, found.stderr) == (0, "")
    assert "BATCH 64 -> 128" in found.stdout
    assert "BATCH 64 → 128" in shell(folder, "bilevel tail", PYTHONIOENCODING="utf-8").stdout


@pytest.mark.parametrize("command", ["status", "sessions", "show", "tail", "diff", "attach --plain"])
def test_the_locale_c_gets_plain_ones_as_well(folder: Path, command: str) -> None:
    found = shell(folder, f"bilevel {command}", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert (found.returncode, "Traceback" in found.stderr) == (0, False), found.stderr
    assert found.stdout.isascii() and found.stdout


def test_a_script_goes_into_a_pipe_as_it_is_whatever_the_encoding(tmp_path: Path) -> None:
    events = [created(), *run("trial-1", 1, 2.0, status="keep", incumbent=1, config={**INITIAL, "NAME": "größer → 漢"})]
    write(tmp_path / "sessions.db", with_workspace(tmp_path / "sessions.db", events))
    found = shell(tmp_path, "bilevel export --best -")
    assert "größer → 漢" in found.stdout
    assert shell(tmp_path, "bilevel export --best -", PYTHONIOENCODING="ascii").stdout == found.stdout


def test_json_stays_json_where_the_output_is_plain(folder: Path) -> None:
    plain = shell(folder, "bilevel export --events -; bilevel tail --json", PYTHONIOENCODING="ascii").stdout
    assert plain.isascii()
    assert [json.loads(line)["kind"] for line in plain.splitlines()].count("session_created") == 1
