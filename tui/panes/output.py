"""The trainer's own output: what the run that trains prints, or what the selected trial printed."""

from rich.text import Text
from textual.app import ComposeResult

from engine.record.view import View
from tui.moment import Moment
from tui.panes.pane import Pane
from tui.trainer_log import TrainerLog
from tui.widgets.fitting import wrapped
from tui.widgets.lines import LineView

LINES = 2_000
"""So many of the last lines can be scrolled through; `bilevel export` has the whole log."""


class OutputPane(Pane):
    """The end of a log, growing; scrolled away from its end, or held, what is shown stands."""

    number, heading = 2, "Output"

    def __init__(self) -> None:
        super().__init__(id="output")
        self._log: TrainerLog | None = None
        self._run: str | None = ""
        self._lines: list[str | Text] = []
        self._titled: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        yield LineView(follow=True)

    @property
    def lines(self) -> LineView:
        """The lines themselves."""
        return self.query_one(LineView)

    def show(self, moment: Moment) -> None:
        """Bring the pane to the moment: where the file has not grown, nothing is read."""
        if self._log is None or self._log.feed is not moment.feed:
            self._log = TrainerLog(moment.feed)
        run, log, view = run_of(moment.view, moment.selection.trial), self._log, self.lines
        if run == self._run and (moment.held or not (moment.replay or view.follow)):
            self._title(log, "held" if moment.held else "End follows")
            return
        lines = log.lines(LINES, run, live=not (moment.replay or moment.held))
        if run != self._run:
            view.follow = True
        told: list[str | Text] = [*lines] or [Text(line, "dim") for line in wrapped(log.note, max(20, view.size.width))]
        if run != self._run or told != self._lines:
            self._run, self._lines = run, told
            view.show_lines(told)
        self._title(log, "")

    def _title(self, log: TrainerLog, more: str) -> None:
        titled = (log.shown, more)
        if titled != self._titled:
            self._titled = titled
            self.entitle(" · ".join(part for part in titled if part))


def run_of(view: View, trial: int | None) -> str | None:
    """The run of the selected trial, of the baseline its last; None: the one that trains, or the last that ended."""
    if trial is None:
        return None
    if trial == 0:
        runs = [run.run for run in view.finished_runs.values() if run.role == "baseline"]
        return runs[-1] if runs else None
    name = f"trial-{trial}"
    trains = view.running is not None and view.running.started.run == name
    return name if trains or name in view.finished_runs else None
