"""What the folder of an attempt keeps beside the supervisor's files, for an engine whose record is elder than the run.

    started.json   the event that began the attempt
    checked.json   whether the fixed files were whole when it had ended, and of which result this was found

With both, a run whose events were lost with a damaged record can be recorded again and its result taken, instead of
training a second time. Whether it fits the session that is resumed is for `runs` to say.
"""

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path

from engine.record.events import TrialStarted, UnknownEvent, decode, encode
from engine.training.processes import sweep

STARTED, CHECKED, RESULT = "started.json", "checked.json", "result.json"


@dataclass(frozen=True)
class Checked:
    """What was found when the run had ended; `tampered` names the changed files in a sentence, None when whole."""

    tampered: str | None


def keep_start(folder: Path, started: TrialStarted) -> None:
    """Write the event that begins an attempt into its folder, which is made. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    (folder / STARTED).write_bytes(encode(started))


def keep_check(folder: Path, checked: Checked) -> None:
    """Write down what was found. It names the result by hash, which the trainer cannot know in advance.

    Raises OSError.
    """
    text = json.dumps({"result": _digest(folder), "tampered": checked.tampered})
    (folder / CHECKED).write_text(text, encoding="utf-8")


def read_check(folder: Path) -> Checked | None:
    """What was found of the result that lies in the folder; None when nothing was."""
    try:
        found = json.loads((folder / CHECKED).read_text(encoding="utf-8"))
        if found["result"] != _digest(folder):
            return None
        return Checked(None if found["tampered"] is None else str(found["tampered"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def find_ended(runs: Path, run: str) -> TrialStarted | None:
    """The newest attempt of a run that ended and was checked; None when there is none."""
    starts = [started for folder in runs.glob(f"{run}.*") if read_check(folder) and (started := _read_start(folder))]
    return max((started for started in starts if started.run == run), key=lambda each: each.attempt, default=None)


def set_aside(runs: Path, run: str, attempt: int) -> None:
    """Make room for an attempt that begins: what the record does not know of it or later ones ends and is renamed."""
    for folder in runs.glob(f"{run}.*"):
        number = folder.name.rpartition(".")[2]
        if not number.isdigit() or int(number) < attempt:
            continue
        if started := _read_start(folder):
            sweep(started.token)
        stamp, copy = time.strftime("%Y%m%d-%H%M%S"), 1
        while (aside := runs / f"unrecorded-{stamp}-{copy}-{folder.name}").exists():
            copy += 1
        folder.rename(aside)


def _read_start(folder: Path) -> TrialStarted | None:
    try:
        event = decode("trial_started", (folder / STARTED).read_bytes())
    except (OSError, UnknownEvent, ValueError):
        return None
    return event if isinstance(event, TrialStarted) else None


def _digest(folder: Path) -> str:
    return hashlib.sha256((folder / RESULT).read_bytes()).hexdigest()
