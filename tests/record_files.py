"""What the tests of the record share: events to write, and processes that write or hold a record of their own."""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from engine.record.events import Noted, SessionCreated, TrialFinished, TrialProgress, TrialStarted
from engine.record.reader import Reader

ROOT = Path(__file__).parent.parent


def created(session: str = "s") -> SessionCreated:
    return SessionCreated(
        session=session, version="1", settings={}, target={}, space={}, model="offline", stand_in=True
    )


def note(text: str) -> Noted:
    return Noted(severity="info", text=text)


def notes(numbers: Iterable[int]) -> list[Noted]:
    return [note(f"note {number}") for number in numbers]


def progress(step: int = 0) -> TrialProgress:
    return TrialProgress(run="r1", attempt=1, step=step, offset=90 * step, fraction=0.5, loss=5.1, remaining=20.0)


def started(run: str = "r1", attempt: int = 1) -> TrialStarted:
    return TrialStarted(
        run=run, role="search", number=1, attempt=attempt, token=f"{run}-{attempt}", commit="c", config={"A": 1}, seed=3
    )


def finished(run: str = "r1") -> TrialFinished:
    return TrialFinished(
        run=run, role="search", number=1, attempt=1, status="keep", incumbent=1, seconds=9.5, metric=2.5
    )


def texts(path: Path, session: str = "s") -> list[str]:
    """The texts of the session's notes, after its chain was verified."""
    with Reader(path) as reader:
        reader.verify(session)
        return [str(row.event.text) for row in reader.events(session, kinds=["noted"])]


def content(path: Path) -> bytes:
    """The file's bytes; none where there is no file."""
    return path.read_bytes() if path.is_file() else b""


def python(code: str, *args: object) -> "subprocess.Popen[str]":
    """A Python process that runs `code` with `args`, with pipes for its input and output."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])},
    )


def line(process: "subprocess.Popen[str]") -> str:
    """The next line that the process prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end(process: "subprocess.Popen[str]") -> int:
    """Close the process's input, which asks it to end, and wait for that."""
    process.communicate(timeout=30)
    return process.returncode
