"""A session on the screen, live or replayed: header, banner, six panes, keys, and the clock that repaints them.

The record is looked at four times a second; a key repaints at once. What a pane shows is its own affair: it is handed
the moment. Below 100 columns the panes become tabs, below 60 x 16 there is only a message.
"""

from collections.abc import Callable
from time import time as wall_clock
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, Vertical
from textual.widget import Widget
from textual.widgets import Static

from engine.record.view import ENDED
from tui.actions import ACTIONS
from tui.engine_watch import EngineWatch, replayed
from tui.feed import Feed
from tui.leaving import goodbye
from tui.moment import Moment, Selection
from tui.panes.banner import Banner
from tui.panes.curve import CurvePane
from tui.panes.dialogue import DialoguePane
from tui.panes.header import Header
from tui.panes.mechanisms import MechanismsPane, Side
from tui.panes.output import OutputPane
from tui.panes.pane import Pane
from tui.panes.parameters import ParametersPane
from tui.panes.timeline import Timeline
from tui.panes.trials import TrialsPane
from tui.screens.commanding import Commanding
from tui.screens.finding import Finding
from tui.screens.keeping import Keeping
from tui.screens.offering import Offering
from tui.screens.replaying import Replaying
from tui.screens.searching import Searching
from tui.screens.tabs import Tabs
from tui.widgets.keybar import KeyBar
from tui.widgets.lines import LineView

REPAINT_SECONDS = 0.25


class SessionScreen(Commanding, Replaying, Finding, Offering, Keeping, Searching):
    """One session, whose engine `watch` looks after. A replay begins where the trial `at` has ended, if given."""

    heading: ClassVar = "the session"

    BINDINGS: ClassVar = [
        *(action.binding() for action in ACTIONS),
        Binding("end,G", "now", "Now", show=False, priority=True),  # while it is held, before the list that has them
    ]
    HORIZONTAL_BREAKPOINTS: ClassVar = [(0, "-tiny"), (60, "-narrow"), (100, "-mid"), (160, "-wide")]
    VERTICAL_BREAKPOINTS: ClassVar = [(0, "-short"), (16, "-tall")]
    DEFAULT_CSS = """
    SessionScreen { layout: vertical; }
    SessionScreen #too-small { display: none; content-align: center middle; height: 1fr; }
    SessionScreen Tabs { display: none; }
    SessionScreen #deck { layout: grid; grid-gutter: 0; height: 1fr; }
    SessionScreen.-mid #deck { grid-size: 2 3; grid-columns: 3fr 2fr; grid-rows: 4fr 3fr 3fr; }
    SessionScreen.-wide #deck { grid-size: 3 2; grid-columns: 13fr 9fr 9fr; }
    SessionScreen.-narrow Tabs { display: block; }
    SessionScreen.-narrow #deck, SessionScreen.-zoomed #deck { layout: vertical; }
    SessionScreen.-narrow #deck > Pane, SessionScreen.-zoomed #deck > Pane { display: none; }
    SessionScreen.-narrow #deck > Pane.-current, SessionScreen.-zoomed #deck > Pane.-current { display: block; }
    SessionScreen.-tiny #whole, SessionScreen.-short #whole { display: none; }
    SessionScreen.-tiny > #too-small, SessionScreen.-short > #too-small { display: block; }
    """

    def __init__(
        self, feed: Feed, watch: EngineWatch, *, replay: bool, read_only: bool = False, at: int | None = None
    ) -> None:
        super().__init__()
        self._at_first = at
        self.feed, self.engine_watch = feed, watch
        self.replay, self._only_looks = replay, read_only
        self.selection = Selection()
        self.current = 1
        self.held = False
        self._held_at = 0.0
        self._failing: set[Widget] = set()

    # --- what it is made of -------------------------------------------------------------------------------------------
    def compose(self) -> ComposeResult:
        yield Static("bilevel needs a terminal of at least 60 x 16", id="too-small")
        with Vertical(id="whole"):
            yield Header()
            yield Banner()
            yield Tabs()
            with Container(id="deck"):
                yield TrialsPane()
                yield ParametersPane()
                yield CurvePane()
                yield MechanismsPane()
                yield OutputPane()
                yield DialoguePane()
            yield Timeline()
            yield KeyBar()

    def on_mount(self) -> None:
        if self._at_first is not None:
            self.go_to_trial(self._at_first)
        self.action_pane(1)
        self.repaint()
        self.set_interval(REPAINT_SECONDS, self._tick)

    def on_unmount(self) -> None:
        self.engine_watch.close()
        self.feed.close()

    @property
    def panes(self) -> list[Pane]:
        """All panes, in the order of the screen."""
        return list(self.query(Pane))

    @property
    def read_only(self) -> bool:
        """Whether nothing can be commanded: the person only looks, or the session has ended."""
        return self._only_looks or self.feed.newest.status in ENDED

    # --- repainting ---------------------------------------------------------------------------------------------------
    def _tick(self) -> None:
        try:
            if self.replay:
                self.advance()
            else:
                self.feed.poll()
        finally:  # ages and the engine's state go on
            self.repaint()

    def moment(self, *, newest: bool = False) -> Moment:
        """What is shown now; `newest`: what is known now, although what is shown is held."""
        state = self.engine_watch.state
        engine = replayed(self.feed, state) if self.replay else state
        now = self.feed.view.time if self.replay else wall_clock()
        if self.held and not newest:
            now = self._held_at
        looks = self._only_looks and not self.replay
        return Moment(self.feed, engine, now, self.replay, self.selection, self.held, looks, newest)

    def repaint(self) -> None:
        """Bring everything that can be seen to the moment."""
        if not self.is_current:
            return
        moment = self.moment()
        with self.app.batch_update():
            header, banner = self.query_one(Header), self.query_one(Banner)
            self._draw(header, lambda: header.show(moment, held=self.held))
            # What waits, waits for a person who holds the screen as well.
            self._draw(banner, lambda: banner.show(self.moment(newest=True) if self.held else moment))
            if self.replay:
                line = self.query_one(Timeline)
                self._draw(line, lambda: line.show(moment, self.clock))
            self._draw(self.query_one(KeyBar), self.offer)
            for pane in self.panes:
                pane.set_class(moment.stale, "-stale")
                if pane.display:
                    self._draw(pane, lambda pane=pane: pane.show(moment))  # type: ignore[misc]

    def _draw(self, part: Widget, show: Callable[[], None]) -> None:
        """Bring a part of the screen to the moment; one that cannot be leaves the others alone."""
        try:
            show()
        except Exception as error:
            self._failing.add(part)
            self.app.failed(part, error)
            return
        if part in self._failing:
            self._failing.discard(part)
            if isinstance(part, Pane):
                part.recover()

    def on_screen_resume(self) -> None:
        self.call_after_refresh(self.repaint)

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self._resized)

    def _resized(self) -> None:
        """The focus, which what is hidden loses, comes back with the pane."""
        self.repaint()
        if self.focused is None:
            self.set_focus(self.focused_pane().main())

    # --- panes --------------------------------------------------------------------------------------------------------
    def action_pane(self, number: int) -> None:
        """Go to a pane."""
        for pane in self.panes:
            pane.set_class(pane.number == number, "-current")
            if pane.number == number:
                self.current = number
                self.set_focus(pane.main())  # at once: the next key may be here already
        self._tabs()
        self.call_after_refresh(self.repaint)

    def _tabs(self) -> None:
        self.query_one(Tabs).show([(pane.number, pane.heading) for pane in self.panes], self.current)

    def on_tabs_chosen(self, event: Tabs.Chosen) -> None:
        self.action_pane(event.number)

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        owner = next((node for node in event.widget.ancestors_with_self if isinstance(node, Pane)), None)
        if owner is not None and owner.number != self.current:
            self.current = owner.number
            for pane in self.panes:
                pane.set_class(pane is owner, "-current")
            self._tabs()
            self.offer()

    def action_side(self, side: Side) -> None:
        """Another side of the selected mechanism."""
        self.query_one(MechanismsPane).turn_to(side)
        if self.current != MechanismsPane.number:
            self.action_pane(MechanismsPane.number)
        self.repaint()

    def focused_pane(self) -> Pane:
        """The pane that keys speak to."""
        return next(pane for pane in self.panes if pane.number == self.current)

    def action_zoom(self) -> None:
        """The whole screen for the pane with the focus, or back; all about a trial rather than many rows."""
        if not (self.zooms or self.has_class("-zoomed")):
            self.notify("this pane has the whole screen already")
            return
        self.toggle_class("-zoomed")
        self.call_after_refresh(self.repaint)

    def action_turn(self) -> None:
        """From a round's answer to its question, and back."""
        self.query_one(DialoguePane).turn()
        if self.current != DialoguePane.number:
            self.action_pane(DialoguePane.number)
        self.repaint()

    # --- now --------------------------------------------------------------------------------------------------------
    def action_hold(self) -> None:
        """Hold what is shown, or come back to now."""
        if self.held:
            self.action_now()
            return
        if self.feed.newest.status in ENDED:
            self.notify("the session has ended: nothing goes on that could be held")
            return
        self.held, self._held_at = True, wall_clock()
        self.feed.hold()
        self.repaint()

    def action_now(self) -> None:
        """Come back to now; what is selected stays."""
        self.held = False
        self.feed.follow()
        self.repaint()

    def action_follow(self) -> None:
        """Come back to now, and follow the newest in every pane."""
        self.follow()
        if self.held:
            self.action_now()
        self.repaint()

    def follow(self) -> None:
        """Select nothing: every pane goes with what is newest."""
        self.selection.trial = self.selection.mechanism = None
        for lines in self.query(LineView):
            if lines.grows:
                lines.action_last()

    # --- actions ------------------------------------------------------------------------------------------------------
    def action_help(self) -> None:
        """The keys that there are."""
        from tui.screens.help import HelpScreen

        self.app.push_screen(HelpScreen(replay=self.replay, read_only=self.read_only))

    def action_theme(self) -> None:
        """The next theme."""
        self.app.next_theme()

    def action_palette(self) -> None:
        """Find an action by its name."""
        self.app.action_command_palette()

    def action_sessions(self) -> None:
        """The list of sessions."""
        self.app.show_sessions()

    def action_leave(self) -> None:
        """Leave; the engine goes on."""
        if self.replay:
            self.app.leave()
        else:
            self.app.leave(*goodbye(self.feed))
