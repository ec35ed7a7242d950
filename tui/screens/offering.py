"""What can be done here and now: it is offered on the last line; a key of what cannot be done says why not."""

from typing import TYPE_CHECKING

from textual import events

from engine.record.view import ENDED
from tui.actions import ACTIONS, Action, action_named, exists
from tui.panes.mechanisms import chosen_of
from tui.panes.trials import TrialsPane
from tui.widgets.keybar import KeyBar, offers

if TYPE_CHECKING:
    from tui.screens.session import SessionScreen


class Offering:
    """What `SessionScreen` offers."""

    def check_action(self: "SessionScreen", action: str, parameters: tuple[object, ...]) -> bool | None:
        """What does not exist in this way of seeing a session is neither offered nor done."""
        if action == "now":
            return self.held
        found = action_named(action, parameters)
        return found is None or exists(found, replay=self.replay, read_only=self.read_only)

    def offer(self: "SessionScreen") -> None:
        """Bring the last line to what the moment and the pane with the focus call for."""
        here = [action for action in ACTIONS if exists(action, replay=self.replay, read_only=self.read_only)]
        self.query_one(KeyBar).offer(offers(filter(self._matters, here), self._words()))

    def _matters(self: "SessionScreen", action: Action) -> bool:
        """Whether there is something that the action would be about."""
        if action.pane is not None and action.pane != self.current:
            return False
        newest = self.feed.newest
        if action.where == "command" and not self.takes_commands:
            return False
        match action.id:
            case "decide":
                return newest.waiting is not None
            case "hold":
                return self.held or newest.status not in ENDED
            case "zoom":
                return self.zooms
            case "kill_trial":
                return newest.running is not None
            case "edit" | "revert":
                chosen = chosen_of(self.feed.view, self.selection.mechanism)
                statuses = ("active",) if action.id == "revert" else ("active", "approved", "waiting")
                return chosen is not None and chosen.status in statuses
        return True

    @property
    def takes_commands(self: "SessionScreen") -> bool:
        """Whether somebody would hear a command: not from one who only looks, and not once the engine is gone."""
        return not self.read_only and self.engine_watch.state.state != "gone"

    @property
    def zooms(self: "SessionScreen") -> bool:
        """Whether zooming changes anything: a narrow screen shows one pane anyway; that of trials may tell more."""
        narrow, trials = self.has_class("-narrow"), self.current == TrialsPane.number
        return not narrow or (trials and self.query_one(TrialsPane).zooms)

    def _words(self: "SessionScreen") -> dict[str, str]:
        """What an action is called just now, where that differs."""
        newest = self.feed.newest
        words = {} if self.takes_commands else {"decide": "Look"}
        if self.has_class("-zoomed"):
            words["zoom"] = "Unzoom"
        if newest.status == "paused":
            words["pause_engine"] = "Resume"
        if self.held or (self.replay and self.clock.playing):
            words |= {"hold": "Go on", "play": "Hold"}
        if self.selection.parameter in newest.frozen:
            words["freeze"] = "Unfreeze"
        return words

    def on_key(self: "SessionScreen", event: events.Key) -> None:
        """A key of a command that does not exist here says why not."""
        asked = next((each for each in ACTIONS if each.group == "Steering" and each.key == event.key), None)
        if asked is None or exists(asked, replay=self.replay, read_only=self.read_only):
            return
        ended = "the session has ended" if self.feed.newest.status in ENDED else "this viewer only looks (--read-only)"
        why = "a replay takes no commands" if self.replay else ended
        self.notify(f"{asked.label}: {why}", severity="warning", timeout=3)
