"""A plot in characters: points and a staircase in braille dots, two by four to a cell, with axes.

It is made once for each drawing and size, not at each repaint. Points that lie outside the range are marked at its
edge, what has no value below all others. Line and points differ in shape as well as in colour.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

from rich.text import Text
from textual.strip import Strip

from tui.widgets.drawn import Drawn
from tui.widgets.spark import resampled, spark

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot of a braille cell, by row and column (Unicode chapter 21.1)."""
_BRAILLE = 0x2800
_LOWEST = 3
"""Rows that a plot needs beside axis, labels and the line above."""
_ROWS_PER_LABEL = 4
_POINT, _STAIRCASE, _AGAINST, _BAND, _ABOVE, _BELOW, _FAILED = "", "accent", "other", "dim", "warn", "warn", "bad"
Point = tuple[int, float]


@dataclass(frozen=True)
class Mark:
    """A sign on the x axis; of several at one place the last is seen."""

    x: int
    sign: str
    style: str


@dataclass(frozen=True)
class Drawing:
    """What to plot. x are whole numbers from `first` to `last`; y between `low` (at the bottom) and `high`.

    `stairs` hold their value until the next; `against` do so too, dotted, as another's beside them.
    They end at the x of `ends`, None: at the last. `failed` are the x without a value. `lower_is_better` says which of
    many points stands for them in the line above the plot.
    """

    name: str
    first: int
    last: int
    low: float
    high: float
    points: Sequence[Point] = ()
    stairs: Sequence[Point] = ()
    against: Sequence[Point] = ()
    ends: tuple[int | None, int | None] = (None, None)
    band: tuple[float, float] | None = None
    failed: Sequence[int] = ()
    marks: Sequence[Mark] = field(default=())
    lower_is_better: bool = True


class Plot(Drawn, can_focus=True):
    """One line of blocks, and below it the plot where there is room for one."""

    DEFAULT_CSS = "Plot { height: 1fr; }"

    def __init__(self) -> None:
        super().__init__()
        self.drawing: Drawing | None = None
        self.instead = ""
        self._made: tuple[int, int] | None = None
        """The size for which the lines were made."""
        self._lines: list[Text] = []

    def show_drawing(self, drawing: Drawing | None, instead: str = "") -> None:
        """Plot this from now on; without a drawing, say `instead`."""
        self.drawing, self.instead, self._made = drawing, instead, None
        self.refresh()

    def lines(self) -> list[Text]:
        """What is drawn at this size."""
        width, height = self.size
        if self._made != (width, height):
            self._made = (width, height)
            self._lines = [Text(self.instead, "dim")] if self.drawing is None else plotted(self.drawing, width, height)
        return self._lines

    def render_line(self, y: int) -> Strip:
        width, lines = self.size.width, self.lines()
        strip = self.drawn(lines[y]) if y < len(lines) else Strip([])
        return strip.crop(0, width).extend_cell_length(width, self.base)


def plotted(drawing: Drawing, width: int, height: int) -> list[Text]:
    """The lines of a drawing: the line of blocks, and where there is room the plot with its axes."""
    rows = height - 3 - bool(drawing.failed)
    lines = [_sparkline(drawing, width)]
    if rows < _LOWEST:
        return lines
    labels = _labels(drawing, rows)
    margin = max(map(len, labels.values()))
    columns = width - margin - 2
    if columns < 10:
        return lines
    canvas = _Canvas(drawing, columns, rows)
    for y in range(rows):
        label = labels.get(y, "")
        lines.append(Text.assemble((f"{label:>{margin}} {'┤' if label else '│'}", "dim"), canvas.row(y)))
    if drawing.failed:
        lines.append(Text.assemble((f"{'':>{margin}} │", "dim"), (canvas.failures(), _FAILED)))
    lines.append(Text.assemble((" " * (margin + 1) + "└", "dim"), canvas.axis()))
    lines.append(Text(" " * (margin + 2) + canvas.numbers(), "dim"))
    return lines


def sparks(drawing: Drawing, width: int) -> str:
    """The points as blocks, at most `width` of them."""
    values: list[float | None] = [None] * (drawing.last - drawing.first + 1)
    for x, y in drawing.points:
        values[x - drawing.first] = y
    shown = resampled(values, width, min if drawing.lower_is_better else max)
    return spark(shown, drawing.low, drawing.high)


def _sparkline(drawing: Drawing, width: int) -> Text:
    end = f" {_figure(drawing.stairs[-1][1], drawing)}" if drawing.stairs else ""
    room = width - len(drawing.name) - 1 - len(end)
    if room < 4:
        return Text(drawing.name + end, "dim")
    return Text.assemble((f"{drawing.name} ", "dim"), sparks(drawing, room), (end, "strong"))


def _labels(drawing: Drawing, rows: int) -> dict[int, str]:
    """The y labels by row: the value at the middle of the row."""
    count = max(2, rows // _ROWS_PER_LABEL + 1)
    at = {round(index * (rows - 1) / (count - 1)) for index in range(count)}
    step = (drawing.high - drawing.low) / rows
    return {y: _figure(drawing.high - (y + 0.5) * step, drawing) for y in at}


def _figure(value: float, drawing: Drawing) -> str:
    """A value with as many decimals as the range asks for; of a large or a tiny one as many digits."""
    span = drawing.high - drawing.low
    if not (value and span):
        return f"{value:.4g}"
    order = math.floor(math.log10(span))
    if abs(value) < 1e5 and order >= -4:
        return f"{value:.{max(0, 2 - order)}f}"
    digits = 3 + math.floor(math.log10(abs(value))) - order
    return f"{value:.{min(15, max(4, digits))}g}"


class _Canvas:
    """The cells of a plot: dots by layer, signs over them."""

    def __init__(self, drawing: Drawing, columns: int, rows: int) -> None:
        self.drawing, self.columns, self.rows = drawing, columns, rows
        self.points = [[0] * columns for _ in range(rows)]
        self.stairs = [[0] * columns for _ in range(rows)]
        self.against = [[0] * columns for _ in range(rows)]
        self.signs: dict[tuple[int, int], tuple[str, str]] = {}
        self.sparse = drawing.last - drawing.first < columns
        """Where there is room, a point is a sign of its own rather than a dot of a cell."""
        self._band()
        self._points()
        self._stairs(self.stairs, drawing.stairs, drawing.ends[0])
        self._stairs(self.against, drawing.against, drawing.ends[1], every=2)

    # --- places, in dots ----------------------------------------------------------------------------------------------
    def _across(self, x: int) -> int:
        spread = self.drawing.last - self.drawing.first
        return round((x - self.drawing.first) * (2 * self.columns - 1) / spread) if spread else 0

    def _down(self, y: float) -> int:
        spread = self.drawing.high - self.drawing.low
        share = (self.drawing.high - min(max(y, self.drawing.low), self.drawing.high)) / spread if spread else 0.5
        return min(4 * self.rows - 1, int(share * 4 * self.rows))

    # --- layers -------------------------------------------------------------------------------------------------------
    def _band(self) -> None:
        if self.drawing.band is None:
            return
        for edge in self.drawing.band:
            if self.drawing.low <= edge <= self.drawing.high:
                y = self._down(edge) // 4
                self.signs.update({(y, x): ("┈", _BAND) for x in range(self.columns)})

    def _points(self) -> None:
        for x, y in self.drawing.points:
            across = self._across(x)
            if y > self.drawing.high:
                self.signs[0, across // 2] = ("↑", _ABOVE)
            elif y < self.drawing.low:
                self.signs[self.rows - 1, across // 2] = ("↓", _BELOW)
            elif self.sparse:
                self.signs[self._down(y) // 4, across // 2] = ("•", _POINT)
            else:
                self._dot(self.points, across, self._down(y))

    def _stairs(
        self, layer: list[list[int]], points: Sequence[Point], until: int | None = None, every: int = 1
    ) -> None:
        """A staircase through the points, of which every so many dots are set."""
        steps = [(self._across(x), self._down(y)) for x, y in points]
        end = 2 * self.columns - 1 if until is None else self._across(until)
        ends = [*steps[1:], (end, steps[-1][1])] if steps else []
        for (x, y), (to, below) in zip(steps, ends, strict=True):
            for across in range(x, to + 1):
                if across % every == 0:
                    self._dot(layer, across, y)
            for down in range(min(y, below), max(y, below) + 1):
                if down % every == 0:
                    self._dot(layer, to, down)

    @staticmethod
    def _dot(layer: list[list[int]], across: int, down: int) -> None:
        layer[down // 4][across // 2] |= _DOTS[down % 4][across % 2]

    # --- lines --------------------------------------------------------------------------------------------------------
    def row(self, y: int) -> Text:
        """One row of cells: points that are signs, over the staircases, over dots, over the band."""
        cells: list[tuple[str, str]] = []
        for x, (points, stairs, against) in enumerate(
            zip(self.points[y], self.stairs[y], self.against[y], strict=True)
        ):
            sign = self.signs.get((y, x))
            if sign is not None and (sign[1] != _BAND or not (stairs or against or points)):
                cells.append(sign)
            elif stairs or against:
                cells.append((chr(_BRAILLE + (stairs | against | points)), _STAIRCASE if stairs else _AGAINST))
            else:
                cells.append((chr(_BRAILLE + points) if points else " ", _POINT))
        return _joined(cells)

    def failures(self) -> str:
        """The row below the lowest value: what has none."""
        places = {self._across(x) // 2 for x in self.drawing.failed}
        return "".join("✗" if x in places else " " for x in range(self.columns))

    def axis(self) -> Text:
        """The x axis with its marks."""
        cells: list[tuple[str, str]] = [("─", "dim")] * self.columns
        for mark in self.drawing.marks:
            if self.drawing.first <= mark.x <= self.drawing.last:
                cells[self._across(mark.x) // 2] = (mark.sign, mark.style)
        return _joined(cells)

    def numbers(self) -> str:
        """The x labels: the first, the middle, the last."""
        first, last = self.drawing.first, self.drawing.last
        middle = (first + last) // 2
        line = [" "] * self.columns
        for x, share in ((first, 0.0), (middle, 0.5), (last, 1.0)):
            label = str(x)
            start = min(self.columns - len(label), max(0, round(self._across(x) / 2 - share * len(label))))
            line[start : start + len(label)] = label
        return "".join(line)


def _joined(cells: Sequence[tuple[str, str]]) -> Text:
    """The cells as a text with one span for each stretch of a style."""
    stretches = groupby(cells, key=lambda cell: cell[1])
    return Text.assemble(*(("".join(sign for sign, _ in stretch), style) for style, stretch in stretches))
