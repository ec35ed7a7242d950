"""The list of sessions: find one, open it, compare two."""

from pathlib import Path
from textwrap import wrap
from typing import ClassVar

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.widgets import Input, Static

from engine.record.wording import clean, counted, number, signed
from tui.actions import SESSIONS_ACTIONS, Action
from tui.listing import Entry, Listing
from tui.screens.asking import Words
from tui.screens.keeping import Keeping
from tui.screens.session_rows import SessionRows
from tui.widgets.block import Block
from tui.widgets.fitting import wrapped
from tui.widgets.keybar import KeyBar, offers
from tui.widgets.lines import LineView

LOOK_SECONDS = 0.25
START = "`bilevel run --quick` shows one at once; what begins on this record appears here"


class SessionsScreen(Keeping):
    """Every session of a record, the newest first; a session that runs is kept up to date."""

    heading: ClassVar = "the list"
    actions: ClassVar[tuple[Action, ...]] = SESSIONS_ACTIONS
    BINDINGS: ClassVar[list[BindingType]] = [action.binding() for action in SESSIONS_ACTIONS]
    HORIZONTAL_BREAKPOINTS: ClassVar = [(0, "-tiny"), (60, "-wide")]
    VERTICAL_BREAKPOINTS: ClassVar = [(0, "-short"), (16, "-tall")]
    DEFAULT_CSS = """
    SessionsScreen #too-small { display: none; content-align: center middle; height: 1fr; }
    SessionsScreen #title { background: $panel; padding: 0 1; }
    SessionsScreen #about { padding: 0 1; background: $panel; }
    SessionsScreen #filter { display: none; border: none; height: 1; padding: 0 1; background: $surface; }
    SessionsScreen #filter.-open { display: block; }
    SessionsScreen.-tiny #whole, SessionsScreen.-short #whole { display: none; }
    SessionsScreen.-tiny #too-small, SessionsScreen.-short #too-small { display: block; }
    """

    def __init__(self, db: Path, current: str | None = None) -> None:
        """`current`: the session that the cursor stands on."""
        super().__init__()
        self.db, self.current = db, current
        self.listing: Listing | None = None
        self._version = -1

    def compose(self) -> ComposeResult:
        yield Static("bilevel needs a terminal of at least 60 x 16", id="too-small")
        with Vertical(id="whole"):
            yield Block(id="title")
            yield Block(id="heading")
            yield SessionRows()
            yield Block(id="about")
            yield Words(placeholder="words of a session: its name, target, model, state, a mechanism", id="filter")
            yield KeyBar()

    def on_mount(self) -> None:
        self.listing = Listing(self.db)
        self.rows.focus()
        self.set_interval(LOOK_SECONDS, self._tick)

    def on_unmount(self) -> None:
        if self.listing is not None:
            self.listing.close()

    @property
    def rows(self) -> SessionRows:
        """The list itself."""
        return self.query_one(SessionRows)

    # --- keeping up ---------------------------------------------------------------------------------------------------
    def _tick(self) -> None:
        assert self.listing is not None
        if self.app.screen is not self:
            return
        self.listing.want(self.rows.seen())
        if self.listing.version != self._version:
            self.bring()

    def bring(self) -> None:
        """Bring the list to what is known now."""
        assert self.listing is not None
        self._version = self.listing.version
        entries = self.listing.entries
        words = self.query_one("#filter", Input).value.lower().split()
        shown = [entry for entry in entries if entry.has(words)] if words else entries
        with self.app.batch_update():
            self.rows.bring(shown, self.current)
            self.query_one("#title", Block).show_lines([self._title(len(shown), len(entries), bool(words))])
            self.query_one("#heading", Block).show_lines([self.rows.heading()] if shown else self._instead(entries))
            self._about()
            self.query_one(KeyBar).offer(offers(filter(self._matters, self.actions)))

    def _matters(self, action: Action) -> bool:
        """Whether there is something that the action would be about."""
        match action.id:
            case "compare":
                return bool(self.rows.marked)
            case "open" | "replay" | "mark":
                return self.rows.chosen is not None
            case "filter":
                assert self.listing is not None
                return bool(self.listing.entries)
        return True

    def _title(self, shown: int, known: int, filtered: bool) -> Text:
        assert self.listing is not None
        told = f"{shown} of {counted(known, 'session')}" if filtered else counted(known, "session")
        title = Text.assemble(("Sessions", "strong"), f"  {told}  ", (clean(self.db, 200), "dim"))
        if self.listing.read < known:
            title.append(f"  read so far: {self.listing.read}", "warn")
        if self.rows.marked:
            title.append("  compare: C", "accent")
        return title

    def _instead(self, entries: list[Entry]) -> list[Text]:
        """What is said where there is no row."""
        assert self.listing is not None
        if entries:
            return [Text(" no session has all of these words", "dim")]
        if not self.listing.listed:
            return [Text(" reading …", "dim")]
        told = [self.listing.trouble or f"the record {self.db} holds no session yet"]
        if not self.listing.trouble or not self.db.exists():  # on what is damaged nothing is begun
            told.append(START)
        width = max(20, self.app.size.width - 2)
        return [Text(f" {line}", "dim") for text in told for line in ("", *wrap(text, width, break_on_hyphens=False))]

    def _about(self) -> None:
        """What the row has no room for, of the session under the cursor."""
        assert self.listing is not None
        chosen = self.rows.chosen
        width = max(20, self.app.size.width - 2)
        trouble = wrapped(f"! {clean(self.listing.trouble, 300)}", width) if self.listing.trouble and chosen else []
        lines = [Text(line, "warn") for line in trouble]
        if chosen is not None and chosen.summary is not None:
            lines += [Text(line) for fact in about(chosen) for line in wrapped(fact, width)]
        self.query_one("#about", Block).show_lines(lines)

    @on(LineView.Moved)
    def _moved(self) -> None:
        chosen = self.rows.chosen
        self.current = chosen.id if chosen else self.current
        self._about()

    def on_screen_suspend(self) -> None:
        if self.listing is not None:
            self.listing.rest(True)

    def on_screen_resume(self) -> None:
        if self.listing is not None:
            self.listing.rest(False)
            self.call_after_refresh(self.bring)

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self.bring)

    # --- the filter ---------------------------------------------------------------------------------------------------
    def action_filter(self) -> None:
        """Type words; the list shrinks as they come."""
        words = self.query_one("#filter", Input)
        words.add_class("-open")
        words.focus()

    @on(Input.Changed)
    def _filtered(self) -> None:
        self.bring()

    @on(Input.Submitted)
    def _taken(self, event: Input.Submitted) -> None:
        event.input.set_class(bool(event.value.strip()), "-open")
        self.rows.focus()

    def action_all(self) -> None:
        """Without the filter."""
        words = self.query_one("#filter", Input)
        words.value = ""
        words.remove_class("-open")
        self.rows.focus()

    # --- opening ------------------------------------------------------------------------------------------------------
    def action_open(self) -> None:
        """See the session: live if it runs, else its end."""
        chosen = self.rows.chosen
        if chosen is not None:
            self.app.open_session(chosen.id, replay=not chosen.alive, end=True)

    def action_replay(self) -> None:
        """Replay it from its first event."""
        chosen = self.rows.chosen
        if chosen is not None:
            self.app.open_session(chosen.id, replay=True)

    def action_mark(self) -> None:
        """Mark it to be compared, or take the mark back; of three the first goes."""
        chosen = self.rows.chosen
        if chosen is None:
            return
        marked = self.rows.marked
        self.rows.marked = [name for name in marked if name != chosen.id]
        if chosen.id not in marked:
            self.rows.marked = [*marked, chosen.id][-2:]
        self.bring()

    def action_compare(self) -> None:
        """Compare the two that are marked, or the marked one with this one."""
        chosen = self.rows.chosen
        pair = list(self.rows.marked)
        if len(pair) == 1 and chosen is not None and chosen.id not in pair:
            pair.append(chosen.id)
        if len(pair) < 2:
            self.notify("mark two sessions with space", severity="warning")
            return
        from tui.screens.compare import CompareScreen

        self.app.push_screen(CompareScreen(self.db, pair[0], pair[1]))

    # --- taking away --------------------------------------------------------------------------------------------------
    def kept_as(self) -> str:
        """As the title says."""
        return "sessions"

    def part_in_focus(self) -> tuple[str, str]:
        """The sessions that the filter leaves, under the names of the columns; else what is said instead."""
        heading = [f"{line.plain.rstrip()}\n" for line in self.query_one("#heading", Block).lines]
        return "list", "".join(heading) + (self.rows.text() if self.rows.count() else "")

    # --- the application ----------------------------------------------------------------------------------------------
    def action_theme(self) -> None:
        """The next theme."""
        self.app.next_theme()

    def action_help(self) -> None:
        """The keys that there are."""
        from tui.screens.help import HelpScreen

        self.app.push_screen(HelpScreen(SESSIONS_ACTIONS))

    def action_palette(self) -> None:
        """Find an action by its name."""
        self.app.action_command_palette()

    def action_leave(self) -> None:
        """Leave."""
        self.app.leave()


def about(entry: Entry) -> list[str]:
    """Two facts on a session."""
    known = entry.summary
    assert known is not None
    confirmed = "not confirmed" if known.confirmed is None else f"confirmed {signed(known.confirmed)}"
    if known.interval is not None:
        confirmed += f", 95 % interval {signed(known.interval[0])} to {signed(known.interval[1])}"
    model = f"{known.model} (a STAND-IN: rules in a model's place)" if known.stand_in else known.model
    return [
        f"{known.target}/{known.profile} · {known.metric} {number(known.best)}, {confirmed}",
        f"{model} · mechanisms: {', '.join(known.mechanisms) or 'none'}",
    ]
