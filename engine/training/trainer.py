"""The engine's half of a training run: start it, follow it, stop it, take it up again after a restart.

A `Trainer` has one attempt at a time. It starts the supervisor (see supervisor.py), follows the trainer's log file, and
returns the outcome once the supervisor has ended. It learns of that end through a pidfd, at once and without polling;
that works the same for a supervisor that an earlier engine started.

If the engine dies, the run goes on. It does not record anything, does not decide whether a run was good, and does not
parse the final block: it hands out progress by a callback, and the outcome. Call it from the main thread's event loop.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.training.outcome import Outcome, outcome_of
from engine.training.output import LineSplitter, Progress, parse_progress
from engine.training.processes import ROLE, TOKEN, Spawned, describe, find_supervisor, open_spawned, sweep

SUPERVISOR = Path(__file__).with_name("supervisor.py")
TAIL_SECONDS = 0.5  # between two looks at the log
TAIL_BYTES = 65_536  # of new output that are looked at each time; progress is at its end
REASON_CHARACTERS = 500
RESULT_PATIENCE = 3600.0  # seconds for which a supervisor waits for space to write its result

OnProgress = Callable[[Progress, int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class RunSpec:
    """One attempt at one run. `folder` belongs to this attempt alone and receives spec.json, trainer.log, result.json.

    `token` is a random text of at least eight characters that names the attempt in the environment of its processes.
    `environment` is all that the trainer gets (see environment.trainer_environment); the token is added to it.
    Times in seconds: `deadline` from the start to the end of the run; `stall` without new output, counted from
    `startup` on; `grace` between SIGTERM and SIGKILL. `log_bytes` is the largest log.
    A Python in `command` must not be called with -I or -E: it would hold back its output until its buffer is full.
    """

    run: str
    attempt: int
    token: str
    command: tuple[str, ...]
    cwd: Path
    environment: dict[str, str]
    folder: Path
    deadline: float
    startup: float
    stall: float | None
    log_bytes: int
    grace: float = 10.0

    @property
    def log(self) -> Path:
        """Where everything goes that the trainer prints."""
        return self.folder / "trainer.log"

    @property
    def result(self) -> Path:
        """Where the supervisor writes the outcome."""
        return self.folder / "result.json"

    @property
    def stop(self) -> Path:
        """Where a reason to stop lies for a supervisor that lost its engine."""
        return self.folder / "stop"


class LogTail:
    """Reads what was added to a log since the last look, at most its last 64 KB; finds the newest progress."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._splitter = LineSplitter()

    def read(self) -> tuple[Progress, int] | None:
        """The newest progress line since the last call and the offset up to which the log was read."""
        try:
            size = self._path.stat().st_size
            if size == self._offset:
                return None
            if not self._offset <= size <= self._offset + TAIL_BYTES:  # much at once, or cut by the trainer
                self._offset = max(0, size - TAIL_BYTES)
                self._splitter = LineSplitter()
            with self._path.open("rb", buffering=0) as file:
                file.seek(self._offset)
                chunk = file.read(TAIL_BYTES)
        except FileNotFoundError:
            return None
        self._offset += len(chunk)
        for line in reversed(self._splitter.feed(chunk)):
            if (progress := parse_progress(line)) is not None:
                return progress, self._offset
        return None


@dataclass(slots=True)
class _Attempt:
    spec: RunSpec
    pidfd: int  # of the supervisor; -1 when it had ended before this engine came
    child: int | None = None  # its process id when this process is its parent
    lifeline: int = -1  # write end; -1 when an earlier engine held it
    overdue: float = float("inf")  # monotonic time from which a supervisor that has not ended may have been stopped

    def wake(self) -> None:
        """Let a supervisor go on that somebody stopped with SIGSTOP: its deadlines stop with it."""
        if self.pidfd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGCONT)


class Trainer:
    """Starts and follows training runs, one at a time."""

    def __init__(self) -> None:
        self._attempt: _Attempt | None = None

    async def start(self, spec: RunSpec) -> Spawned:
        """Start the supervisor of this attempt, which starts the trainer; return who it is, to be recorded.

        Raises RuntimeError when an attempt is running, FileExistsError when the folder already holds a result, and
        OSError when no process can be started.
        """
        self._refuse_second()
        spec.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if spec.result.exists():
            raise FileExistsError(f"{spec.result} is the result of an earlier attempt")
        spec_path = write_spec(spec)
        held, lifeline = os.pipe()
        os.set_blocking(lifeline, False)
        try:
            pid = _spawn(spec, spec_path, lifeline=held)
        except OSError:
            os.close(lifeline)
            raise
        finally:
            os.close(held)
        self._attempt = _Attempt(spec, os.pidfd_open(pid), pid, lifeline)
        return describe(pid)

    async def adopt(self, spec: RunSpec, spawned: Spawned | None) -> Literal["running", "finished", "lost"]:
        """Take up an attempt of an earlier engine. `spawned` is None when that one died before it could record it.

        "running": its supervisor lives, and wait() and stop() work as ever. "finished": wait() returns the outcome.
        "lost": neither it nor a result is there; what was left of it has been killed, and wait() must not be called.
        Raises RuntimeError when an attempt is running, BilevelError when leftovers cannot be killed.
        """
        self._refuse_second()
        spawned = spawned or find_supervisor(spec.token)
        pidfd = open_spawned(spawned) if spawned is not None else None
        if pidfd is not None:
            self._attempt = _Attempt(spec, pidfd)
            return "running"
        if _outcome(spec) is not None:
            self._attempt = _Attempt(spec, -1)
            return "finished"
        await asyncio.to_thread(sweep, spec.token)
        return "lost"

    async def wait(self, on_progress: OnProgress | None = None) -> Outcome:
        """Until the supervisor has ended: report progress at most twice a second; then return the outcome.

        `on_progress` gets the newest progress line and the offset in the log up to which it was read. The end of the
        run is seen when a call of it returns, and an error in it goes through. A cancelled wait() may be called
        again: the run is not touched. Without a result the leftovers are killed, and the outcome is "lost".
        Raises BilevelError when they cannot be killed; wait() may then be called again.
        """
        attempt = self._running()
        if attempt.pidfd >= 0:
            await self._follow(attempt, on_progress)
        outcome = _outcome(attempt.spec)
        how = _reap(attempt)
        if outcome is None:
            killed = await asyncio.to_thread(sweep, attempt.spec.token)
            outcome = Outcome("lost", f"the supervisor ended without a result{how}", leftovers_killed=killed)
        self._release(attempt)
        return outcome

    async def stop(self, reason: str) -> None:
        """Ask for the end of the run: SIGTERM, `grace`, SIGKILL. wait() returns the outcome with this reason.

        Does nothing when the run has just ended. Raises RuntimeError when there is none.
        """
        attempt = self._running()
        attempt.wake()
        text = " ".join(reason.split())[:REASON_CHARACTERS].encode() or b"stopped"
        if attempt.lifeline >= 0:
            with suppress(BrokenPipeError, BlockingIOError):  # it has just ended, or has been told often enough
                os.write(attempt.lifeline, text + b"\n")
        elif attempt.pidfd >= 0:
            with suppress(OSError):  # a full disk keeps the reason back, not the stop
                attempt.spec.stop.write_bytes(text)
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(attempt.pidfd, signal.SIGTERM)

    def leave(self) -> None:
        """Let go of the run without stopping it, as when this process ended: it goes on, and its result waits."""
        if self._attempt is not None:
            self._release(self._attempt)

    async def _follow(self, attempt: _Attempt, on_progress: OnProgress | None) -> None:
        """Return once the supervisor has ended."""
        loop = asyncio.get_running_loop()
        attempt.overdue = min(attempt.overdue, loop.time() + attempt.spec.deadline + attempt.spec.grace)
        ended = asyncio.Event()
        tail = LogTail(attempt.spec.log)
        loop.add_reader(attempt.pidfd, ended.set)
        try:
            while not ended.is_set():
                with suppress(TimeoutError):
                    async with asyncio.timeout(TAIL_SECONDS):
                        await ended.wait()
                        return
                if loop.time() > attempt.overdue:
                    attempt.wake()
                if on_progress is not None and (found := tail.read()) is not None:
                    await on_progress(*found)
        finally:
            loop.remove_reader(attempt.pidfd)

    def _running(self) -> _Attempt:
        if self._attempt is None:
            raise RuntimeError("no attempt is running")
        return self._attempt

    def _refuse_second(self) -> None:
        if self._attempt is not None:
            raise RuntimeError(f"attempt {self._attempt.spec.attempt} of {self._attempt.spec.run} is still running")

    def _release(self, attempt: _Attempt) -> None:
        for descriptor in (attempt.pidfd, attempt.lifeline):
            if descriptor >= 0:
                os.close(descriptor)
        self._attempt = None


def _outcome(spec: RunSpec) -> Outcome | None:
    return outcome_of(spec.result, spec.run, spec.attempt, spec.token)


def _reap(attempt: _Attempt) -> str:
    """Collect the ended supervisor if it is a child; how it ended, if that was no ordinary end."""
    if attempt.child is None:
        return ""
    _, status = os.waitpid(attempt.child, 0)
    attempt.child = None
    code = os.waitstatus_to_exitcode(status)
    return f" ({signal.Signals(-code).name})" if code < 0 else f" (exit code {code})"


def write_spec(spec: RunSpec) -> Path:
    """spec.json as supervisor.Spec reads it."""
    content = {
        "run": spec.run,
        "attempt": spec.attempt,
        "token": spec.token,
        "command": list(spec.command),
        "cwd": str(spec.cwd),
        "environment": {**spec.environment, TOKEN: spec.token},
        "log": str(spec.log.absolute()),
        "result": str(spec.result.absolute()),
        "stop": str(spec.stop.absolute()),
        "deadline": spec.deadline,
        "startup": spec.startup,
        "stall": spec.stall,
        "log_bytes": spec.log_bytes,
        "grace": spec.grace,
        "patience": RESULT_PATIENCE,
    }
    path = spec.folder / "spec.json"
    path.write_text(json.dumps(content, indent=1))
    path.chmod(0o600)
    return path


def _spawn(spec: RunSpec, spec_path: Path, lifeline: int) -> int:
    """Start the supervisor in a session of its own, so that the terminal's signals pass it by; its process id.

    Its descriptors are 0 to 3: nothing, nothing, a file for its own troubles, the lifeline.
    """
    errors = str(spec.folder / "supervisor.log")
    return os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-S", str(SUPERVISOR), str(spec_path.absolute()), "3"],
        {TOKEN: spec.token, ROLE: "supervisor"},
        file_actions=[
            (os.POSIX_SPAWN_DUP2, lifeline, 3),
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
            (os.POSIX_SPAWN_OPEN, 2, errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        ],
        setsid=True,
        setsigdef=(signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP),
        setsigmask=(),
    )
