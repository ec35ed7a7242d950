"""The trials: a row each, and below them, where there is room, everything about the one under the cursor."""

from textual.app import ComposeResult

from tui.moment import Moment
from tui.panes.glyphs import BEYOND, STATUS, TIE, WORSE
from tui.panes.pane import Pane
from tui.panes.trial_details import details
from tui.panes.trial_rows import TrialRows
from tui.widgets.block import Block
from tui.widgets.lines import LineView

_HEADING_FROM = 6
_DETAILS_FROM = 15
"""Rows inside the frame from which there is a heading, and from which there are details."""
_ROWS_LEFT = 5
"""Rows that the list and its heading keep where the pane is zoomed: the details have the others, if they need them."""
_STATUSES = "  ".join(f"{sign} {word}" for word, (sign, _) in STATUS.items())
_LEGENDS = (f"{_STATUSES}  {BEYOND} beyond noise  {TIE} within  {WORSE} worse", _STATUSES)


class TrialsPane(Pane):
    """All trials of the session; moving the cursor selects one for every pane, the end follows the newest."""

    number = 1
    heading = "Trials"

    def __init__(self) -> None:
        super().__init__(id="trials")
        self._chosen: int | None = None
        """The selection as this pane knows it: what differs was selected elsewhere."""
        self._detailed: tuple[object, ...] = ()

    def compose(self) -> ComposeResult:
        yield Block(id="trials-heading")
        yield TrialRows()
        yield Block(id="trials-details")

    @property
    def rows(self) -> TrialRows:
        """The list itself."""
        return self.query_one(TrialRows)

    def show(self, moment: Moment) -> None:
        """Bring the pane to the moment."""
        self._moment = moment
        rows = self.rows
        if rows.bring(moment):
            view = moment.view
            kept = sum(trial.kept and trial.number > 0 for trial in view.history)
            self.entitle(f"{view.completed} done, {kept} kept" if view.completed else "")
        self._select(moment)
        self._heading()
        self._details(moment)

    def _select(self, moment: Moment) -> None:
        """Put the cursor where another part of the screen has put the selection."""
        rows, chosen = self.rows, moment.selection.trial
        if chosen == self._chosen:
            return
        index = rows.count() - 1 if chosen is None else rows.row_of(chosen)
        if index is not None:
            self._chosen = chosen
            rows.go_to(index, follow=chosen is None)

    def on_line_view_moved(self, event: LineView.Moved) -> None:
        event.stop()
        if self._moment is not None:
            self._chosen = None if self.rows.follow else self.rows.trial_at(event.index)
            self._moment.selection.trial = self._chosen
            self._details(self._moment)

    # --- around the list ----------------------------------------------------------------------------------------------
    def _heading(self) -> None:
        tall = self.size.height >= _HEADING_FROM and bool(self.rows.trials)
        self.query_one("#trials-heading", Block).show_lines([self.rows.heading()[self.rows.offset_x :]] if tall else [])
        legend = next((told for told in _LEGENDS if self.size.width > len(told) + 4), "")
        if legend != (self.border_subtitle or ""):  # setting it draws the whole pane again
            self.border_subtitle = legend

    @property
    def zooms(self) -> bool:
        """Whether there is room for more details where the pane is zoomed."""
        return self.size.height >= 2 * _ROWS_LEFT

    def _details(self, moment: Moment) -> None:
        zoomed, height = self.screen.has_class("-zoomed"), self.size.height
        if zoomed:
            room = height - _ROWS_LEFT if self.zooms else 0
        else:
            room = height // 2 - 1 if height >= _DETAILS_FROM else 0
        view, chosen = moment.view, self.rows.trial_at(self.rows.cursor)
        running = view.running if view.running and view.running.started.number == chosen else None
        acts = sum(len(mechanism.acts) for mechanism in view.mechanisms.values())
        known = (
            chosen,
            len(view.finished_runs),
            running.progress.step if running and running.progress else None,
            acts,
            room,
            self.size.width,
        )
        if known == self._detailed:
            return
        self._detailed = known
        rest = "" if zoomed else "  (z: all of it)"
        lines = details(view, chosen, self.app.console, self.size.width, room, rest) if room else []
        self.query_one("#trials-details", Block).show_lines(lines)
