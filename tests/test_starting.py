"""Before a session: what it takes where nobody said, and what is told of it."""

from pathlib import Path

import msgspec
import pytest
import told_sessions as told

from engine.record.origin import by_stand_in
from engine.record.reader import Reader
from engine.record.settings import Settings
from engine.tools import machine
from engine.training.target import load_target
from tui import starting
from tui.cli import COMMANDS, parser_of

BASELINE = Path(__file__).parents[1] / "baseline"


def quick(*words: str, declined: bool = False) -> Settings:
    """What `run --quick` with these words takes."""
    return starting.settings_of(
        parser_of(COMMANDS["run"]).parse_args(["--quick", *words]), quick=True, declined=declined
    )


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine on which torch reaches a GPU."""
    monkeypatch.chdir(tmp_path)
    for name in [*starting.KEYS, "BILEVEL_MODEL", "BILEVEL_PROFILE"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(starting, "_cuda", lambda: True)


@pytest.mark.usefixtures("gpu")
def test_a_first_look_takes_the_cpu_also_once_the_key_was_declined(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (quick().model, quick().profile) == ("offline", "cpu")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    assert quick().profile == "cuda", "its estimate is shown before the person is asked"
    declined = quick(declined=True)
    assert (declined.model, declined.profile) == ("offline", "cpu")
    assert quick("--profile", "cuda", declined=True).profile == "cuda"
    named = quick("--model", "gpt-x", declined=True)
    assert (named.model, named.profile) == ("offline", "cpu"), "no is no, whatever was named"


def test_answers_of_a_stand_in_are_told_as_that_however_often_they_were_played_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    db = told.write(tmp_path / "sessions.db", told.whole())
    again, real = "20261122-0000-late-owl", "20261123-0000-long-night"
    played = msgspec.structs.replace(told.created(again), model=f"replay:{told.NAME}", stand_in=False)
    told.write(db, [played, *told.beginning()[1:]], again)
    told.write(db, [msgspec.structs.replace(told.created(real), model="m", stand_in=False)], real)
    with Reader(db) as reader:
        assert [by_stand_in(reader, session) for session in (told.NAME, again, real)] == [True, True, False]
    for session, stand_in in ((again, True), (real, False)):
        settings = Settings(target=str(BASELINE), profile="cpu", model=f"replay:{session}")
        starting.announce(settings, load_target(BASELINE, "cpu"), db)
        assert ("STAND-IN" in capsys.readouterr().out) is stand_in


def test_a_session_that_plays_itself_back_is_nobodys(tmp_path: Path) -> None:
    played = msgspec.structs.replace(told.created(), model=f"replay:{told.NAME}", stand_in=False)
    db = told.write(tmp_path / "sessions.db", [played, *told.beginning()[1:]])
    with Reader(db) as reader:
        assert not by_stand_in(reader, told.NAME)


def test_a_profile_for_a_gpu_on_a_machine_without_one_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "has_nvidia_device", lambda: False)
    settings = Settings(target=str(BASELINE), profile="cuda", model="offline")
    starting.announce(settings, load_target(BASELINE, "cuda"), tmp_path / "sessions.db")
    assert "no NVIDIA device on this machine: the trials may train on the CPU" in capsys.readouterr().out
