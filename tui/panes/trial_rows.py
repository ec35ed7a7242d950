"""A row a trial, made when it is seen: what it was, what it came to, who proposed it, what it changed."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text

from engine.record import events as ev
from engine.record.view import View
from engine.record.wording import clean, counted, number, run_words, signed
from engine.search.trials import History, Trial
from tui.moment import Moment
from tui.panes.glyphs import BEYOND, STATUS, TIE, WORSE
from tui.panes.phrases import doing, lasting
from tui.plain import changes
from tui.widgets.columns import Column, fitting, laid_out
from tui.widgets.lines import LineView

CHANGE_WIDTH = 24
"""Columns that the change should have: others give way to it."""


@dataclass(frozen=True)
class Row:
    """What the cells of a trial's row are made from; `before`: the best metric before it."""

    view: View
    trial: Trial
    before: float | None


def _sign(row: Row) -> tuple[str, str]:
    return STATUS.get(row.trial.status, ("?", "warn"))


def _word(row: Row) -> tuple[str, str]:
    return "baseline" if row.trial.number == 0 else row.trial.status, _sign(row)[1]


def _metric(row: Row) -> tuple[str, str]:
    return number(row.trial.metric), "strong" if row.trial.kept else ""


def _difference(row: Row) -> tuple[str, str]:
    trial = row.trial
    if trial.metric is None or row.before is None:
        return "", ""
    history = row.view.history
    better = history.loss(trial.metric) < history.loss(row.before)
    return signed(trial.metric - row.before), "good" if better else "dim"


def noise_mark(trial: Trial) -> tuple[str, str]:
    """How it stands in the light of the noise, as a sign and its style."""
    if trial.beyond_noise:
        return BEYOND, "good"
    return {"tie": (TIE, "dim"), "worse": (WORSE, "bad")}.get(trial.verdict or "", ("", ""))


def _seconds(row: Row) -> tuple[str, str]:
    seconds = row.trial.seconds
    return f"{seconds:.1f} s" if seconds < 90 else _lasting(seconds), "dim"


def _lasting(seconds: float) -> str:
    """A time for a narrow column: the minutes behind hours go without their name, 1 h 40; then 13.9 h, then 4.2 d."""
    hours = seconds / 3600
    if hours >= 9.99:
        return f"{hours:.1f} h" if hours < 99.9 else f"{hours / 24:.1f} d"
    told = lasting(seconds)
    return told.removesuffix(" min") if " h " in told else told


def _proposer(row: Row) -> tuple[str, str]:
    return _author(row.trial), "accent" if row.trial.edited_by else ""


def _author(of: Trial | ev.TrialStarted | None) -> str:
    """Who proposed a trial, and who changed that."""
    if of is None:
        return ""
    return clean(of.proposed_by, 40) + clean("".join(f"+{name}" for name in of.edited_by), 40)


COLUMNS: tuple[Column[Row], ...] = (
    Column("#", -4, 0, lambda row: (str(row.trial.number), "")),
    Column("", 1, 0, _sign),
    Column("status", 8, 4, _word),
    Column("metric", -9, 0, _metric),
    Column("to best", -9, 1, _difference),
    Column("", 1, 1, lambda row: noise_mark(row.trial)),
    Column("time", -6, 3, _seconds),
    Column("by", 12, 2, _proposer),
)


class Widths:
    """How wide the columns are that take no more than their cells need: of the metric, the difference and the author.

    They depend on the trials up to the last one that is shown alone, so that a replay looks as the session did.
    """

    SNUG: ClassVar = {"metric": 7, "to best": 8, "by": 6}
    """The heading of each, and its least width."""

    def __init__(self) -> None:
        self._upto: list[tuple[int, ...]] = []
        """For each trial in order, the widest cell up to it in each of these columns."""

    def note(self, view: View, trials: Sequence[Trial], before: Sequence[float | None]) -> None:
        """Measure the trials that are new; alone, the baseline too, whose metric is the mean of the runs so far."""
        if len(self._upto) == 1 or len(trials) == 1:
            self._upto.clear()
        cells = [column.cell for column in COLUMNS if column.heading in self.SNUG]
        for index in range(len(self._upto), len(trials)):
            row = Row(view, trials[index], before[index])
            widest = self._upto[-1] if self._upto else tuple(self.SNUG.values())
            measured = (cell_len(cell(row)[0]) for cell in cells)
            self._upto.append(tuple(map(max, widest, measured)))

    def columns(self, shown: int, author: str) -> list[Column[Row]]:
        """The columns where so many trials are shown, and one that trains has this author."""
        widest = self._upto[shown - 1] if 0 < shown <= len(self._upto) else tuple(self.SNUG.values())
        known = dict(zip(self.SNUG, widest, strict=True))
        known["by"] = max(known["by"], cell_len(author))
        return [replace(each, width=_snug(each.width, known.get(each.heading))) for each in COLUMNS]


def _snug(width: int, widest: int | None) -> int:
    """As wide as the widest cell, and no wider than it may be; negative where it is aligned to the right."""
    least = abs(width) if widest is None else min(abs(width), widest)
    return -least if width < 0 else least


class TrialRows(LineView):
    """The trials in order, the one that runs last. Follows the newest until the person looks at another."""

    def __init__(self) -> None:
        super().__init__(follow=True, selectable=True)
        self.view = View()
        self.trials: list[Trial] = []
        self._before: list[float | None] = []
        self._known: tuple[object, ...] = ()
        self._live = Text()
        self._widths = Widths()
        self._columns = list(COLUMNS)

    def bring(self, moment: Moment) -> bool:
        """Bring the rows to the moment; whether there are other rows than before."""
        view = moment.view
        trials = view.history.trials
        run = (view.running.started.run, view.running.started.attempt) if view.running else None
        # A session only ever grows: as many runs with an outcome, the same trials.
        known = (len(trials), len(view.finished_runs), run, () if trials else tuple(doing(view)))
        others, self.view = known != self._known, view
        if others:
            self._known = known
            self.trials = list(trials.values())
            self._before = list(_best_before(view.history))
            self._widths.note(view, self.trials, self._before)
            self._columns = self._widths.columns(len(self.trials), _author(view.running.started if run else None))
        before, self._live = self._live, self._live_row(moment)
        if others:
            self.changed()
            return True
        if before != self._live:
            self.changed_line(len(self.trials))
        return False

    def trial_at(self, index: int) -> int | None:
        """The number of the trial in a row; None where a row shows no trial."""
        if index < len(self.trials):
            return self.trials[index].number
        running = self.view.running
        return running.started.number if running and running.started.role == "search" else None

    def row_of(self, number: int) -> int | None:
        """The row of a trial, None for one that is not here."""
        rows = range(max(0, min(number, self.count() - 1)), -1, -1)  # numbers ascend, so it is there or before
        return next((index for index in rows if self.trial_at(index) == number), None)

    # --- lines --------------------------------------------------------------------------------------------------------
    def count(self) -> int:
        return len(self.trials) + bool(self._live)

    def line(self, index: int) -> Text:
        if index >= len(self.trials):
            return self._live
        row = Row(self.view, self.trials[index], self._before[index])
        return self._laid_out(lambda column: column.cell(row), self._change(row))

    def heading(self) -> Text:
        """The names of the columns."""
        names = self._laid_out(lambda column: (column.heading, ""), Text("change"))
        return Text(names.plain, "dim")

    def _laid_out(self, cell: Callable[[Column[Row]], tuple[str, str]], change: Text) -> Text:
        return laid_out(fitting(self._columns, self.size.width - CHANGE_WIDTH), cell).append_text(change)

    def _change(self, row: Row) -> Text:
        trial = row.trial
        if trial.number == 0:
            runs = len(row.view.baseline_runs)
            return Text(f"the baseline, {counted(runs, 'run')}", "dim")
        told = Text(changes(row.view, trial).replace(" → ", "→"))
        if trial.metric is None and trial.reason:
            told.append(f"  {clean(trial.reason, 80)}", "bad")
        return told

    def _live_row(self, moment: Moment) -> Text:
        """What trains now; where there is no trial yet, what goes on instead; empty otherwise."""
        view, running = moment.view, moment.view.running
        if running is None:
            words = "; ".join(f"level {level}: {words}" for level, words in doing(view))
            return Text() if view.history.trials else Text(f"no trial yet: {words or view.status}", "dim")
        started, progress = running.started, running.progress
        sign, style = STATUS["running"]
        done = f"{100 * progress.fraction:.0f} %" if progress and progress.fraction is not None else "-"
        cells = {
            "#": (str(started.number), ""),
            "status": ("running", style),
            "metric": (done, style),
            "time": (_lasting(moment.now - running.since), "dim"),
            "by": (_author(started), ""),
        }
        what = changes(view, started).replace(" → ", "→") if started.role == "search" else run_words(view, started)
        line = self._laid_out(lambda column: cells.get(column.heading, ("", "")), Text(what))
        # The sign's column has no heading of its own; it is the second.
        at = abs(COLUMNS[0].width) + 1
        return Text.assemble(line[:at], (sign, style), line[at + 1 :])


def _best_before(history: History) -> Iterator[float | None]:
    """For each trial in order, the best metric before it."""
    best: float | None = None
    for trial in history:
        yield best
        if history.loss(trial.metric) < history.loss(best):
            best = trial.metric
