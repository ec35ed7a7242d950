"""The application: it opens the record, shows a session or the list of them, and leaves no trace on the terminal."""

import gc
import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual.app import SystemCommand
from textual.binding import Binding
from textual.screen import Screen

from engine.errors import BilevelError
from tui.actions import ACTIONS, exists
from tui.driver import ViewerDriver, shell_waits
from tui.engine_watch import EngineWatch
from tui.feed import Feed
from tui.plain import clean
from tui.screens.session import SessionScreen
from tui.surviving import Surviving

THEMES = ("textual-dark", "textual-light", "ansi-dark", "ansi-light")
UNREADABLE_SECONDS = 20.0
"""For which it is shown why a session could not be opened."""


class BilevelApp(Surviving):
    """Shows sessions of one record. What it returns is said to the person once the terminal is theirs again."""

    TITLE = "bilevel"
    ENABLE_COMMAND_PALETTE = True
    COMMAND_PALETTE_BINDING = "ctrl+p"
    BINDINGS: ClassVar = [Binding("ctrl+z", "to_shell", show=False, priority=True)]  # also where a person types
    CSS = """
    * { scrollbar-size: 1 1; }
    SearchIcon { display: none; }  /* an emoji, of which terminals differ on the width */
    """

    def __init__(
        self,
        db: Path,
        session: str | None,
        *,
        replay: bool = False,
        at: int | None = None,
        read_only: bool = False,
        theme: str = THEMES[0],
    ) -> None:
        super().__init__()
        self.driver_class = ViewerDriver
        self.db, self.session = db, session
        self.replay, self.at, self.read_only = replay, at, read_only
        self.animation_level = "none"
        self.theme = theme

    def on_mount(self) -> None:
        self.app_resume_signal.subscribe(self, lambda app: self.refresh(layout=True))
        if self.session is None or not self.open_session(self.session, replay=self.replay, at=self.at):
            self.show_sessions()
        self.call_after_refresh(_collect)

    # --- screens ------------------------------------------------------------------------------------------------------
    def open_session(self, session: str, *, replay: bool = False, at: int | None = None, end: bool = False) -> bool:
        """Show a session, over the list where that is shown; False, and why on the screen, where it cannot be read.

        A replay begins at the first event, or where the trial `at` has ended, or at the `end`.
        """
        try:
            feed = Feed(self.db, session, follow=end or not replay)
        except BilevelError as error:
            self.notify(str(error), severity="error", markup=False, timeout=UNREADABLE_SECONDS)
            return False
        self.session = feed.session
        watch = EngineWatch(self.db, feed.session)
        self.push_screen(SessionScreen(feed, watch, replay=replay, read_only=self.read_only, at=at))
        return True

    def show_sessions(self) -> None:
        """Show the list of sessions, as it was left if the session was opened from it."""
        from tui.screens.sessions import SessionsScreen

        if len(self.screen_stack) > 1 and isinstance(self.screen_stack[-2], SessionsScreen):
            self.pop_screen()
        elif len(self.screen_stack) > 1:
            self.switch_screen(SessionsScreen(self.db, self.session))
        else:  # Textual's own first screen stays below
            self.push_screen(SessionsScreen(self.db, self.session))

    def leave(self, said: str = "", code: int = 0) -> None:
        """Give the terminal back; say a line there, and end with this exit code."""
        self.exit(said, return_code=code)

    def next_theme(self) -> None:
        """The next theme."""
        here = THEMES.index(self.theme) if self.theme in THEMES else -1
        self.theme = THEMES[(here + 1) % len(THEMES)]

    async def action_quit(self) -> None:
        """What ctrl+q does everywhere: as leaving, whatever lies over the screen."""
        for screen in reversed(self.screen_stack):
            if isinstance(screen, SessionScreen):
                screen.action_leave()
                return
        self.leave()

    def action_to_shell(self) -> None:
        """Stop, with whatever was started together with this, as ctrl+z does everywhere else."""
        if not shell_waits():
            self.notify("no shell waits below this: it could not be brought back; q leaves", severity="warning")
            return
        self.app_suspend_signal.publish(self)
        os.killpg(0, signal.SIGTSTP)  # the driver hears it, and gives the terminal back first

    async def action_help_quit(self) -> None:
        """What ctrl+c does where nothing is selected: the same, as in every other command."""
        await self.action_quit()

    # --- actions ------------------------------------------------------------------------------------------------------
    def get_system_commands(self, screen: Screen[object]) -> Iterator[SystemCommand]:
        """The palette: the actions of the table that exist here, and going to a trial."""
        if not isinstance(screen, SessionScreen):
            for action in (each for each in getattr(screen, "actions", ()) if each.id != "palette"):
                title = f"{action.label}  ({action.keys})"
                yield SystemCommand(title, action.help, screen.contained(partial(screen.run_action, action.id)))
            return
        for action in ACTIONS:
            if exists(action, replay=screen.replay, read_only=screen.read_only) and action.id != "palette":
                title, do = f"{action.label}  ({action.keys})", partial(screen.run_action, action.id)
                yield SystemCommand(title, action.help, screen.contained(do))
        for trial in screen.feed.view.history:
            go = screen.contained(partial(screen.go_to_trial, trial.number))
            # The palette takes this for markup; Textual's own `escape` leaves some brackets as they are.
            told = clean(trial.hypothesis).replace("[", "\\[") or "the baseline"
            yield SystemCommand(f"Go to trial {trial.number}", told, go)


def _collect() -> None:
    """Collect garbage from now on, what was made so far left out: a pass over all of it is felt as a pause."""
    gc.freeze()
    gc.enable()
