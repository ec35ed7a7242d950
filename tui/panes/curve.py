"""The curve of the metric over the trials: one line of blocks always, a plot where there is room."""

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from engine.record.view import View
from tui.moment import Moment
from tui.panes.curve_drawing import drawing_of
from tui.panes.glyphs import FROZEN_BY_LEVEL, FROZEN_BY_PERSON, INJECTION, STAIRS
from tui.panes.pane import Pane
from tui.widgets.plot import Plot

_LEGEND = (
    f"{STAIRS} best  • trial  ┈ noise of the baseline  ✗ no value  ↑ outside"
    f"  {FROZEN_BY_LEVEL}{FROZEN_BY_PERSON} freeze  {INJECTION} injection"
)


class CurvePane(Pane):
    """Metric, running best, freezes and injections; left and right select the trial before and after."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "trial(-1)", "Trial before", show=False),
        Binding("right", "trial(1)", "Trial after", show=False),
    ]
    number = 5
    heading = "Curve"

    def __init__(self) -> None:
        super().__init__(id="curve")
        self._known: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        yield Plot()

    def show(self, moment: Moment) -> None:
        """Bring the pane to the moment: nothing is made while no trial has come."""
        self._moment = moment
        legend = _LEGEND if self.size.width > len(_LEGEND) + 4 else ""
        if legend != (self.border_subtitle or ""):  # setting it draws the whole pane again
            self.border_subtitle = legend
        known = (*_told(moment.view), moment.selection.trial)
        if known == self._known:
            return
        self._known = known
        drawing = drawing_of(moment.view, moment.selection.trial)
        self.query_one(Plot).show_drawing(drawing, "no metric yet")

    def action_trial(self, step: int) -> None:
        """Select the trial before or after; behind the last one the newest is followed again."""
        if self._moment is None or not self._moment.view.history.trials:
            return
        last = max(self._moment.view.history.trials)
        here = self._moment.selection.trial
        there = max(0, (last if here is None else here) + step)
        self._moment.selection.trial = None if there > last else there
        self.show(self._moment)


def _told(view: View) -> tuple[object, ...]:
    """What the drawing is made from, in so few words that it can be compared four times a second."""
    periods = sum(len(mechanism.periods) for mechanism in view.mechanisms.values())
    return len(view.finished_runs), len(view.strategies), tuple(view.frozen_by_person.items()), periods
