"""Starting an engine: a process of its own, detached from the terminal, that has said that it runs.

The plan goes to the engine's standard input as JSON: {"new": settings, "session": name}, or {"resume": name} with an
optional "extend": {"trials": total}. What it prints goes to `.bilevel/SESSION/engine.log` beside the database. A pipe
tells when it is ready, or why it is not. The key of a model reaches it through its environment alone.
"""

import contextlib
import json
import os
import select
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import BilevelError, InputError
from engine.record.lock import holder
from engine.record.settings import Settings

if TYPE_CHECKING:
    from engine.training.target import Target as Target

ROOT = Path(__file__).resolve().parents[2]
"""The directory that the packages lie in: the engine is started from there, whatever lies in the current directory."""
READY_SECONDS = 180.0
"""An engine that is silent for this long has not started; copying a large target is what may take time."""
FULL = 1 << 20
"""With fewer free bytes a disk is taken for full."""
_TICK = 0.25
_started: list["subprocess.Popen[bytes]"] = []
"""Engines that this process started: kept, so that one that ends meanwhile is collected."""

Waiting = Callable[[float], None]
"""Told every quarter of a second how long the start has taken, in seconds."""


@dataclass(frozen=True)
class Started:
    """An engine that runs: its session, its process."""

    session: str
    pid: int


def start_engine(db: Path, plan: Mapping[str, Any], waiting: Waiting | None = None) -> Started:
    """Start an engine on the database and return once it is ready.

    Raises InputError (exit code 2) or BilevelError with the engine's own sentence when it cannot run this plan. An
    interrupt while it starts ends it.
    """
    db = db.absolute()
    session = str(plan.get("session") or plan["resume"])
    check_place(db)
    running = holder(db)
    if running is not None:
        raise InputError(
            f"session {running.session} is running on {db} (process {running.pid}): "
            f"use another database with --db, or `bilevel stop {running.session}`"
        )
    log = engine_log(db, session)
    known = log.parent.exists()
    theirs, process = _spawn(db, plan, log)
    try:
        said = _await_word(theirs, process, waiting)
    except BaseException:
        process.terminate()
        raise
    finally:
        os.close(theirs)
        _started.append(process)
    if said is None:
        words = last_words(log)
        raise BilevelError(f"the engine ended before it was ready{f': {words}' if words else ''}; its log is {log}")
    if "error" in said:
        process.wait()
        if not known:
            _tidy(log)
        kind = InputError if said.get("exit_code") == InputError.exit_code else BilevelError
        raise kind(str(said["error"]))
    return Started(str(said.get("session", session)), process.pid)


def engine_log(db: Path, session: str) -> Path:
    """Where the engine of a session writes what it has to say beside the record."""
    return db.absolute().parent / ".bilevel" / session / "engine.log"


def reap() -> None:
    """Collect engines of this process that have ended."""
    _started[:] = [process for process in _started if process.poll() is None]


def _spawn(db: Path, plan: Mapping[str, Any], log: Path) -> tuple[int, "subprocess.Popen[bytes]"]:
    """The reading end of the status pipe, and the engine's process with its plan handed over."""
    reading, writing = os.pipe()
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            # -P keeps the current directory, whatever lies there, out of the engine's imports.
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "engine", "--db", str(db), "--status", str(writing)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(writing,),
                start_new_session=True,
                cwd=db.parent,
                env={**os.environ, "PYTHONPATH": _python_path()},
            )
    except OSError as error:
        os.close(reading)
        raise BilevelError(f"the engine cannot be started beside {db}: {error.strerror} ({error.filename})") from None
    finally:
        os.close(writing)
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin:  # it died at once: the pipe says so in a moment
        process.stdin.write(json.dumps(plan).encode())
    return reading, process


def _python_path() -> str:
    return os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))


def _await_word(pipe: int, process: "subprocess.Popen[bytes]", waiting: Waiting | None) -> dict[str, Any] | None:
    """The engine's line, None when it ended without one. Raises BilevelError for one that stays silent."""
    began, said = time.monotonic(), b""
    while not said.endswith(b"\n"):
        elapsed = time.monotonic() - began
        if elapsed > READY_SECONDS:
            raise BilevelError(f"the engine (process {process.pid}) was not ready after {READY_SECONDS:.0f} s")
        if not select.select([pipe], [], [], _TICK)[0]:
            if waiting is not None:
                waiting(elapsed)
            continue
        part = os.read(pipe, 65536)
        if not part:
            return None
        said += part
    found: dict[str, Any] = json.loads(said)
    return found


def last_words(log: Path, after: int = 0) -> str:
    """The last line that an engine wrote to its log beyond so many bytes; empty where there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(after, file.seek(0, os.SEEK_END) - 4000))
            lines = file.read().decode(errors="replace").split("\n")
    except OSError:
        return ""
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return "".join(c for c in last if c.isprintable())[:300]


def hindrance(db: Path, log: Path, after: int = 0) -> str:
    """Why an engine may be slow to start, as far as it can be seen: a full disk, else the last words of its log."""
    with contextlib.suppress(OSError):
        if shutil.disk_usage(db.parent).free < FULL:
            return f"the disk of {db.parent} is full: make room, and it goes on"
    return last_words(log, after)


def _tidy(log: Path) -> None:
    """Remove the folder of a session that never began, if nothing but its log is in it."""
    with contextlib.suppress(OSError):
        if [entry.name for entry in log.parent.iterdir()] == [log.name]:
            log.unlink()
        log.parent.rmdir()  # refused by the system where there is more


def check_place(db: Path) -> None:
    """Raise InputError when the database's directory is not there."""
    if not db.parent.is_dir():
        raise InputError(f"there is no directory {db.parent}: make it, or name another database with --db")


def check_notify(command: str | None, db: Path) -> None:
    """Raise InputError when the first word of `--notify` is no program. It is run beside the database, by no shell."""
    if command is None:
        return
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise InputError(f"--notify {command!r} is no command line: {str(error).lower()}") from None
    if not words:
        raise InputError("--notify is empty: name a command, or leave it out")
    if shutil.which(str(db.parent / words[0]) if "/" in words[0] else words[0]) is None:
        raise InputError(
            f"--notify: there is no program {words[0]} (it is run without a shell, in {db.parent}): "
            "give a program and its arguments, or sh -c '...'"
        )


def check_target(settings: Settings) -> "Target":
    """The target that these settings name, with profile and budget. Raises InputError for what must be corrected."""
    from engine.training.target import load_target

    return load_target(
        Path(settings.target),
        settings.profile,
        seconds=settings.seconds,
        flops=settings.flops,
        initial=settings.initial or None,
    )


def target_profiles(directory: Path) -> list[str]:
    """The profiles that a target directory defines. Raises InputError when its target.toml cannot be read."""
    from engine.training.target import profiles

    return profiles(directory)
