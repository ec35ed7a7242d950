"""What stands out on the timeline of a session: marks, made from the events as they are folded."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engine.record import events as ev
from engine.record.reader import Row
from engine.record.view import ENDED, View
from engine.record.wording import clean, number

LONGEST = 80
"""Characters of a label."""


@dataclass(frozen=True)
class Mark:
    """An event to stop at. `kind`: trial (finished), best, crash, freeze, injection (a mechanism was activated),
    retired, reverted, waiting (for a person), research (begun), engine (started), end. `time` is Unix seconds.
    """

    seq: int
    time: float
    kind: str
    trial: int | None
    label: str


_Told = tuple[str, int | None, str]
"""A mark's kind, trial and label."""


class Marks(list[Mark]):
    """The marks of the events so far, in order; one event may have several. The runs of a baseline are trial 0."""

    def __init__(self) -> None:
        super().__init__()
        self._best: float | None = None

    def note(self, row: Row, event: ev.Event, view: View) -> None:
        """Add what is to be marked of an event that the view has just folded."""
        if isinstance(event, ev.TrialFinished):
            told = self._trial(event, view)
        else:
            marker = _markers.get(type(event))
            told = marker(event, view.completed) if marker else []
        for kind, trial, label in told:
            self.append(Mark(row.seq, row.time, kind, trial, label))

    def _trial(self, event: ev.TrialFinished, view: View) -> list[_Told]:
        if event.role not in ("baseline", "search"):
            return []
        name = f"trial {event.number}" if event.role == "search" else event.run
        value = number(event.metric) if event.metric is not None else clean(event.reason, LONGEST)
        marks: list[_Told] = [("trial", event.number, f"{name} {event.status} {value}")]
        if event.role == "baseline":
            self._best = view.baseline.metric if view.baseline else None
        elif event.metric is not None:
            loss = view.history.loss
            if loss(event.metric) < loss(self._best):
                self._best = event.metric
                marks.append(("best", event.number, f"{name} {value}"))
        if event.status == "crash":
            marks.append(("crash", event.number, f"{name} {value}"))
        return marks


def _strategy(event: ev.StrategyDecided, done: int) -> list[_Told]:
    return (
        [("freeze", event.trial, clean(f"level 1.5 froze {', '.join(event.frozen)}", LONGEST))] if event.frozen else []
    )


def _state(event: ev.StateChanged, done: int) -> list[_Told]:
    return [("end", done, clean(f"{event.status}: {event.reason}", LONGEST))] if event.status in ENDED else []


_markers: dict[type[ev.Event], Callable[[Any, int], list[_Told]]] = {
    ev.StrategyDecided: _strategy,
    ev.StateChanged: _state,
    ev.ParameterFrozen: lambda event, done: [("freeze", done, clean(f"{event.by} froze {event.name}", LONGEST))],
    ev.MechanismActivated: lambda event, done: [("injection", event.trial, clean(event.name, LONGEST))],
    ev.MechanismDeactivated: lambda event, done: [
        (event.status, event.trial, clean(f"{event.name}: {event.reason or event.by}", LONGEST))
    ],
    ev.InjectionWaiting: lambda event, done: [("waiting", done, clean(f"{event.name} waits", LONGEST))],
    ev.ResearchStarted: lambda event, done: [("research", event.trial, f"research {event.research}")],
    ev.EngineStarted: lambda event, done: [("engine", done, "resumed" if event.resumed else "started")],
}
"""What is marked of an event when so many trials were done."""
MARKED = frozenset({ev.TrialFinished, *_markers})
"""The kinds of which anything may be marked: `note` does nothing for others."""
