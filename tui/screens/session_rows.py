"""A row a session, made when it is seen."""

import time
from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text

from engine.record.wording import number, signed
from tui.listing import Entry
from tui.panes.glyphs import SESSION
from tui.panes.phrases import lasting
from tui.widgets.columns import Column, fitting, laid_out, padded
from tui.widgets.lines import LineView

STAND_IN = "STAND-IN"
MODEL_WIDTH = len(STAND_IN)
"""Columns that the model has at least: as many as tell a stand-in."""
MARK = "»"


def _state(entry: Entry) -> tuple[str, str]:
    sign, style = SESSION.get(entry.state, ("…", "dim"))
    return f"{sign} {entry.state}", style


def _trials(entry: Entry) -> tuple[str, str]:
    return (f"{entry.summary.done}/{entry.summary.of}" if entry.summary else "…"), ""


def _best(entry: Entry) -> tuple[str, str]:
    return (number(entry.summary.best) if entry.summary else ""), "strong"


def _gain(entry: Entry) -> tuple[str, str]:
    known = entry.summary
    return (signed(known.gain), "good") if known and known.gain is not None else ("", "")


def _confirmed(entry: Entry) -> tuple[str, str]:
    known = entry.summary
    return (signed(known.confirmed), "strong") if known and known.confirmed is not None else ("", "")


def _target(entry: Entry) -> tuple[str, str]:
    return (f"{entry.summary.target}/{entry.summary.profile}" if entry.summary else ""), ""


def _began(entry: Entry) -> tuple[str, str]:
    return time.strftime("%m-%d %H:%M", time.localtime(entry.row.created)), "dim"


def _ran(entry: Entry) -> tuple[str, str]:
    return (lasting(entry.summary.seconds) if entry.summary else ""), "dim"


def columns(entries: Sequence[Entry]) -> list[Column[Entry]]:
    """The columns for these sessions: that of the trials is as wide as theirs need.

    Where it is narrow, what was confirmed stays longest of the numbers: it is what a session came to. The best metric
    alone says less, and stands below the list.
    """
    trials = max((len(_trials(entry)[0]) for entry in entries), default=0)
    return [
        Column("session", 28, 0, lambda entry: (entry.id, "")),
        Column("state", 13, 0, _state),
        Column("trials", -max(len("trials"), trials), 0, _trials),
        Column("best", -9, 3, _best),
        Column("to base", -8, 2, _gain),
        Column("confirmed", -9, 1, _confirmed),
        Column("target", 15, 4, _target),
        Column("began", 11, 5, _began),
        Column("ran", -9, 6, _ran),
    ]


class SessionRows(LineView):
    """The sessions that the filter leaves. The cursor stays on its session as others come."""

    def __init__(self) -> None:
        super().__init__(selectable=True)
        self.entries: list[Entry] = []
        self.marked: list[str] = []
        self._drawn: tuple[object, ...] = ()
        """What was drawn of all rows: which have a mark, and how wide the columns are."""
        self._all_columns = columns(())

    def bring(self, entries: Sequence[Entry], current: str | None) -> None:
        """Show these, the cursor on the session `current` if it is among them. Draws the rows that read otherwise."""
        before, drawn = self.entries, self._drawn
        self.entries, self._all_columns = list(entries), columns(entries)
        self._drawn = (*self.marked, *(column.width for column in self._all_columns))
        here = next((index for index, entry in enumerate(self.entries) if entry.id == current), self.cursor)
        if here != self.cursor or drawn != self._drawn or [e.id for e in before] != [e.id for e in entries]:
            self.go_to(here)
            return
        for index, (old, new) in enumerate(zip(before, self.entries, strict=True)):
            if old != new and self.row_of(old) != self.row_of(new):
                self.changed_line(index)

    @property
    def chosen(self) -> Entry | None:
        """The one under the cursor."""
        return self.entries[self.cursor] if self.cursor < len(self.entries) else None

    def seen(self) -> list[str]:
        """The sessions that are on the screen."""
        return [entry.id for entry in self.entries[self.offset_y : self.offset_y + self.size.height]]

    def count(self) -> int:
        return len(self.entries)

    def line(self, index: int) -> Text:
        return self.row_of(self.entries[index])

    def row_of(self, entry: Entry) -> Text:
        """The row of a session."""
        known, room = entry.summary, self._room()
        model = known.model if known else ""
        if known and known.stand_in:
            told = f"{STAND_IN} {model}"
            model = told if cell_len(told) <= room else STAND_IN
        mark = (f"{MARK} ", "accent") if entry.id in self.marked else "  "
        row = laid_out(self._columns(), lambda column: column.cell(entry))
        return Text.assemble(mark, row, (padded(model, room), "warn" if known and known.stand_in else ""))

    def heading(self) -> Text:
        """The names of the columns."""
        names = laid_out(self._columns(), lambda column: (column.heading, ""))
        return Text("  " + names.plain + padded("model", self._room()), "dim")

    def _columns(self) -> list[Column[Entry]]:
        return fitting(self._all_columns, self.size.width - 2 - MODEL_WIDTH)

    def _room(self) -> int:
        """Columns that the model has."""
        taken = 2 + sum(abs(column.width) + 1 for column in self._columns())
        return max(MODEL_WIDTH, self.size.width - taken)
