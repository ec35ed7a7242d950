"""Replay: a clock of its own walks through the record; the panes do not know the difference."""

import time
from typing import TYPE_CHECKING

from engine.record.reader import RecordError
from tui.panes.timeline import Timeline
from tui.replay_clock import ReplayClock

if TYPE_CHECKING:
    from tui.screens.session import SessionScreen


class Replaying:
    """The clock of `SessionScreen` where it replays."""

    _clock: ReplayClock | None = None
    _looked = 0.0

    @property
    def clock(self: "SessionScreen") -> ReplayClock:
        """Made at the first look; it begins where the feed stands."""
        if self._clock is None:
            self._clock, self._looked = ReplayClock(self.feed), time.monotonic()
        return self._clock

    def advance(self: "SessionScreen") -> None:
        """Let the time since the last look pass; a record that cannot be read holds it."""
        clock, now = self.clock, time.monotonic()
        passed, self._looked = now - self._looked, now
        self.feed.poll()  # a session that still runs grows
        try:
            position = clock.advance(passed)
        except RecordError as error:
            clock.playing = False
            self.notify(f"the replay holds: {error}", severity="error", markup=False)
            return
        if position != self.feed.position:
            self.feed.seek(position)

    def _at(self: "SessionScreen", position: int) -> None:
        """Stand at an event; a selection of what has not happened there yet is given up."""
        self.feed.seek(position)
        view, chosen = self.feed.view, self.selection
        if chosen.trial is not None and chosen.trial not in view.history.trials:
            chosen.trial = None
        if chosen.mechanism is not None and chosen.mechanism not in view.mechanisms:
            chosen.mechanism = None
        self.repaint()

    def action_play(self: "SessionScreen") -> None:
        """Play or hold; at the end, from the beginning. What plays is followed."""
        self._looked = time.monotonic()
        position = self.clock.play_or_hold()
        if self.clock.playing:
            self.follow()
        self._at(position)

    def action_speed(self: "SessionScreen", step: int) -> None:
        """Twice or half as fast."""
        self.clock.faster() if step > 0 else self.clock.slower()
        self.repaint()

    def action_step(self: "SessionScreen", kind: str, by: int) -> None:
        """To the next or the previous event, trial, injection or best; what happens there is selected."""
        position = self.clock.step(kind, by)
        if position is None:
            self.notify(f"there is no {kind} {'after' if by > 0 else 'before'} this", timeout=2)
            return
        if kind in ("trial", "best"):
            self.selection.trial = None
        elif kind == "injection":
            self.selection.mechanism = None
        self._at(position)

    def seek_trial(self: "SessionScreen", number: int) -> bool:
        """To the moment at which a trial ended, where it is the newest; False, and it is said, if there is none."""
        position = self.clock.jump_to_trial(number)
        if position is None:
            self.notify(f"there is no trial {number}", severity="warning")
            return False
        self.selection.trial = None
        self._at(position)
        return True

    def on_timeline_chosen(self: "SessionScreen", event: Timeline.Chosen) -> None:
        self._at(self.clock.seek(event.seq))
