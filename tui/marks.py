"""What stands out on the timeline of a session: marks, made from the events as they are folded."""

from collections.abc import Callable
from typing import Any, NamedTuple

from engine.record import events as ev
from engine.record.reader import Row
from engine.record.view import ENDED, View


class Mark(NamedTuple):
    """An event to stop at. `kind`: trial (finished), best, crash, freeze, injection (a mechanism was activated),
    retired, reverted, waiting (for a person), research (begun), engine (started), end. `time` is Unix seconds.
    """

    seq: int
    time: float
    kind: str
    trial: int | None


_Told = tuple[str, int | None]
"""A mark's kind and trial."""


class Marks(list[Mark]):
    """The marks of the events so far, in order; one event may have several. The runs of a baseline are trial 0."""

    def __init__(self) -> None:
        super().__init__()
        self._best: float | None = None

    def note(self, row: Row, event: ev.Event, view: View) -> None:
        """Add what is to be marked of an event that the view has just folded."""
        if isinstance(event, ev.TrialFinished):
            told = self._trial(event, view)
        elif isinstance(event, ev.MechanismActivated) and event.hash not in view.active:
            told = []  # vetoed while the boundary was about to let it in
        else:
            marker = _markers.get(type(event))
            told = marker(event, view.completed) if marker else []
        self.extend(Mark(row.seq, row.time, *each) for each in told)

    def _trial(self, event: ev.TrialFinished, view: View) -> list[_Told]:
        if event.role not in ("baseline", "search"):
            return []
        marks: list[_Told] = [("trial", event.number)]
        if event.role == "baseline":
            self._best = view.baseline.metric if view.baseline else None
        elif event.metric is not None:
            loss = view.history.loss
            if loss(event.metric) < loss(self._best):
                self._best = event.metric
                marks.append(("best", event.number))
        if event.status == "crash":
            marks.append(("crash", event.number))
        return marks


_markers: dict[type[ev.Event], Callable[[Any, int], list[_Told]]] = {
    ev.StrategyDecided: lambda event, done: [("freeze", event.trial)] if event.frozen else [],
    ev.StateChanged: lambda event, done: [("end", done)] if event.status in ENDED else [],
    ev.ParameterFrozen: lambda event, done: [("freeze", done)],
    ev.MechanismActivated: lambda event, done: [("injection", event.trial)],
    ev.MechanismDeactivated: lambda event, done: [(event.status, event.trial)],
    ev.InjectionWaiting: lambda event, done: [("waiting", done)],
    ev.ResearchStarted: lambda event, done: [("research", event.trial)],
    ev.EngineStarted: lambda event, done: [("engine", done)],
}
"""What is marked of an event when so many trials were done."""
MARKED = frozenset({ev.TrialFinished, *_markers})
"""The kinds of which anything may be marked: `note` does nothing for others."""
