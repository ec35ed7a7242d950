"""How a training run ended, as its supervisor wrote it into result.json.

The file is believed only when it is whole: every field, of the right type, for this run, attempt and token. Anything
else counts as no result: a run that is repeated costs minutes, a wrong result costs the search its direction.
"""

import json
import os
import signal
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

Why = Literal["exit", "deadline", "stall", "log-flood", "stopped", "spawn-failed", "lost"]
Status = Literal["ended", "crash", "stopped", "lost"]

LARGEST = 16_384  # bytes; a result has a few hundred


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one run.

    `why` is "exit" when the trainer ended by itself, else the limit or wish that ended it; "lost": nobody knows.
    `exit_code` is negative for a signal and None when there is none. `seconds` is wall-clock time from start to end,
    `max_rss_mb` the largest resident memory of the trainer and its reaped children in MiB. `leftovers_killed` counts
    processes that the trainer left and that were killed, `leftovers_left` those that would not die. `disk_full` says
    that the disk had no space at the end: such a failure is not the configuration's.
    """

    why: Why
    reason: str
    exit_code: int | None = None
    seconds: float = 0.0
    max_rss_mb: float = 0.0
    leftovers_killed: int = 0
    leftovers_left: int = 0
    oom_suspected: bool = False
    disk_full: bool = False

    @property
    def status(self) -> Status:
        """ "ended": exit code 0, so the output decides; "crash": the script failed; "stopped": by a limit or a wish."""
        if self.why == "lost":
            return "lost"
        if self.why == "spawn-failed" or (self.why == "exit" and self.exit_code != 0):
            return "crash"
        return "ended" if self.why == "exit" else "stopped"


def outcome_of(path: Path, run: str, attempt: int, token: str) -> Outcome | None:
    """The outcome in this result.json; None when there is none, or none that is whole and of this attempt."""
    try:
        result = json.loads(_read(path), object_pairs_hook=_without_duplicates)
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(result, dict):
        return None
    owner = (result.pop("run", None), result.pop("attempt", None), result.pop("token", None))
    if owner != (run, attempt, token) or set(result) != set(_FIELDS):
        return None
    if not all(valid(result[name]) for name, valid in _FIELDS.items()):
        return None
    result["reason"] = result["reason"] or say_exit(result["exit_code"])
    return Outcome(**cast(dict[str, Any], result))


def say_exit(code: int | None) -> str:
    """How a trainer ended that nobody stopped: its exit code, or the name of the signal that killed it."""
    if code is None or code >= 0:
        return f"ended with exit code {code}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    memory = ", as the kernel does when memory runs out" if code == -signal.SIGKILL else ""
    return f"killed by {name}{memory}"


def _read(path: Path) -> str:
    # Without following a link or waiting for a pipe to be opened: the folder lies within reach of the trainer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("not a plain file")
        return file.read(LARGEST).decode()


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs twice")
    return result


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_amount(value: object) -> bool:
    return type(value) in (int, float) and 0 <= cast(float, value) < 1e12  # false for NaN and infinity


def _is_bool(value: object) -> bool:
    return type(value) is bool


_FIELDS = {
    "why": lambda value: type(value) is str and value in get_args(Why) and value != "lost",
    "reason": lambda value: type(value) is str,
    "exit_code": lambda value: value is None or (type(value) is int and -128 < value < 256),
    "seconds": _is_amount,
    "max_rss_mb": _is_amount,
    "leftovers_killed": _is_count,
    "leftovers_left": _is_count,
    "oom_suspected": _is_bool,
    "disk_full": _is_bool,
}
