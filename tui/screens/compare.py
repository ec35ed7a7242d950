"""Two sessions beside each other: their curves over each other, their facts in two columns."""

from itertools import zip_longest
from pathlib import Path
from textwrap import wrap
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widgets import Static

from engine.errors import BilevelError
from engine.record.wording import clean
from tui.actions import COMPARE_ACTIONS, Action
from tui.comparison import Pair, curves, hindrances, pairs
from tui.engine_watch import EngineWatch
from tui.feed import Feed
from tui.panes.glyphs import AGAINST, STAIRS
from tui.screens.keeping import Keeping
from tui.screens.searching import Searching
from tui.widgets.block import Block
from tui.widgets.columns import padded
from tui.widgets.fitting import wrapped
from tui.widgets.keybar import KeyBar
from tui.widgets.lines import LineView
from tui.widgets.plot import Plot

LOOK_SECONDS = 0.5
DIFFERS = "≠"


class CompareScreen(Keeping, Searching):
    """Two sessions of a record, kept up to date where they run."""

    heading: ClassVar = "the comparison"

    actions: ClassVar[tuple[Action, ...]] = COMPARE_ACTIONS
    BINDINGS: ClassVar[list[BindingType]] = [action.binding() for action in COMPARE_ACTIONS]
    HORIZONTAL_BREAKPOINTS: ClassVar = [(0, "-tiny"), (60, "-fits")]
    VERTICAL_BREAKPOINTS: ClassVar = [(0, "-short"), (16, "-tall")]
    DEFAULT_CSS = """
    CompareScreen #too-small { display: none; content-align: center middle; height: 1fr; }
    CompareScreen #sessions { padding: 0 1; background: $panel; }
    CompareScreen #warning { padding: 0 1; background: $warning-muted; }
    CompareScreen:ansi #warning { background: ansi_default; }
    CompareScreen Plot { height: 2fr; }
    CompareScreen LineView { height: 3fr; padding: 0 1; border-top: solid $border-blurred; }
    CompareScreen.-tiny #whole, CompareScreen.-short #whole { display: none; }
    CompareScreen.-tiny #too-small, CompareScreen.-short #too-small { display: block; }
    """

    def __init__(self, db: Path, first: str, second: str) -> None:
        super().__init__()
        self.db, self.names = db, (first, second)
        self.feeds: list[Feed] = []
        self._watches: list[EngineWatch] = []
        self._troubles: list[str] = []
        self._alive: str | None = None
        """The session that an engine runs."""

    def compose(self) -> ComposeResult:
        yield Static("bilevel needs a terminal of at least 60 x 16", id="too-small")
        with Vertical(id="whole"):
            yield Block(id="sessions")
            yield Block(id="warning")
            yield Plot()
            yield LineView()
            yield KeyBar()

    def on_mount(self) -> None:
        try:
            for name in self.names:
                self.feeds.append(Feed(self.db, name))
        except BilevelError as error:
            self.notify(str(error), severity="error", markup=False)
            self.dismiss(None)
            return
        self.query_one(LineView).focus()
        self._watches = [EngineWatch(self.db, feed.session) for feed in self.feeds]
        self._alive = self._runs()
        self.bring()
        self.set_interval(LOOK_SECONDS, self._tick)

    def on_unmount(self) -> None:
        for each in (*self._watches, *self.feeds):
            each.close()

    def _tick(self) -> None:
        grown, known = [feed.poll() for feed in self.feeds], (self._runs(), [feed.trouble for feed in self.feeds])
        if any(grown) or known != (self._alive, self._troubles):
            self._alive, self._troubles = known
            self.bring()

    def bring(self) -> None:
        """Bring the screen to what the two are now."""
        first, second = (feed.view for feed in self.feeds)
        width = self.query_one(LineView).size.width or self.app.size.width - 2
        reasons = hindrances(first, second)
        warning = "! not comparable: " + "; ".join(reasons)
        with self.app.batch_update():
            names = Text.assemble(
                (f"{STAIRS} {first.session}", "accent"), "   ", (f"{AGAINST} {second.session}", "other")
            )
            self.query_one("#sessions", Block).show_lines([names])
            warnings = [warning] if reasons else []
            warnings += [f"! {clean(trouble, 300)}" for trouble in dict.fromkeys(self._troubles) if trouble]
            told = [line for each in warnings for line in wrapped(each, max(20, self.app.size.width - 2))]
            self.query_one("#warning", Block).show_lines([Text(line, "warn") for line in told])
            self.query_one(Plot).show_drawing(curves(first, second), "no metric yet")
            table = [Pair("", first.session, second.session), *pairs(first, second, self._alive)]
            self.query_one(LineView).show_lines([line for pair in table for line in row(pair, width)])

    def _runs(self) -> str | None:
        """The session that an engine runs, as it was seen last."""
        return next((w.session for w in self._watches if w.state.state in ("answers", "silent")), None)

    def on_resize(self, event: events.Resize) -> None:
        if self.feeds:
            self.call_after_refresh(self.bring)

    def kept_as(self) -> str:
        """Two names would be longer than anybody reads: they stand in the table."""
        return "comparison"

    def part_in_focus(self) -> tuple[str, str]:
        """The table, and before it why it compares what cannot be compared."""
        warnings = [f"{line.plain}\n" for line in self.query_one("#warning", Block).lines]
        return "table", "".join(warnings) + self.query_one(LineView).text()

    def action_back(self) -> None:
        """Back to the list."""
        self.dismiss(None)

    def action_theme(self) -> None:
        """The next theme."""
        self.app.next_theme()

    def action_palette(self) -> None:
        """Find an action by its name."""
        self.app.action_command_palette()

    def action_help(self) -> None:
        """The keys that there are."""
        from tui.screens.help import HelpScreen

        self.app.push_screen(HelpScreen(COMPARE_ACTIONS))


def row(pair: Pair, width: int) -> list[Text]:
    """A fact on as many lines as it takes: whether the sessions differ in it, its label, each session's column."""
    if not pair.first and not pair.second:
        return [Text(""), Text(pair.label, "strong")]
    sign = f"{DIFFERS} " if pair.label and pair.differs else "  "
    beside = max(12, min(24, width // 5))
    half = max(2, (width - beside) // 2)
    label = wrap(pair.label, beside - 3, break_on_hyphens=False) or [""]
    sides = [wrap(text, half - 1, break_on_hyphens=False) for text in (pair.first, pair.second)]
    lines = []
    for name, first, second in zip_longest(label, *sides, fillvalue=""):
        lines.append(
            Text.assemble(
                (sign, "warn"),
                (padded(name, beside - 2), "dim"),
                padded(first, half - 1) + " ",
                second,
            )
        )
        sign = "  "
    return lines
