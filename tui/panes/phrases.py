"""Words that the panes share: times, what each level does, and parts of a line that give way where it is narrow."""

from collections.abc import Sequence
from typing import NamedTuple

from rich.text import Text

from engine.record import events as ev
from engine.record.view import ENDED, View
from engine.record.wording import between_runs, clean, run_words
from engine.tools.estimate import duration


class Part(NamedTuple):
    """A piece of a line; where there is not room for all, those of the highest `rank` go first, those of 0 never."""

    rank: int
    text: Text


def lasting(seconds: float) -> str:
    """A time that has passed or is left; a clock that was set back counts as none."""
    return duration(max(0.0, seconds))


def row(left: Sequence[Part], right: Sequence[Part], width: int, gap: str = "  ") -> Text:
    """One line of the parts that fit the width, the right ones at its end."""
    here, there = list(left), list(right)

    def needed() -> int:
        return sum(part.text.cell_len for part in here + there) + len(gap) * max(0, len(here) + len(there) - 1)

    while needed() > width and any(part.rank for part in here + there):
        last = max(here + there, key=lambda part: part.rank)
        for side in (here, there):
            if last in side:
                side.remove(last)
    text = Text(gap).join(part.text for part in here)
    if there:
        end = Text(gap).join(part.text for part in there)
        text.append(" " * max(len(gap) if here else 0, width - text.cell_len - end.cell_len))
        text.append_text(end)
    return text


# --- what goes on -----------------------------------------------------------------------------------------------------
def doing(view: View) -> list[tuple[str, str]]:
    """Which level is doing what, as (level, words): the level that waits for its model says so."""
    told = {"1": _inner(view), "1.5": view.activity.get("1.5", ""), "2": view.activity.get("2", "")}
    for level, failed in view.backed_off.items():
        reason = failed.reason if isinstance(failed, ev.LevelBackedOff) else failed.error
        told[level] = f"waits for its model, which failed: {reason}"
    return [(level, clean(words, 80)) for level, words in told.items() if words]


def _inner(view: View) -> str:
    if view.status in ENDED:
        return ""
    at_work = run_words(view, view.running.started) if view.running is not None else view.activity.get("1", "")
    if view.ending:
        return f"{at_work}, ending after it" if at_work else "ending"
    if view.running is not None:
        return at_work
    if view.status == "paused":
        return ""
    if view.phase == "search" and view.trials_left():
        return at_work or f"proposing trial {view.completed + 1}"
    return between_runs(view)
