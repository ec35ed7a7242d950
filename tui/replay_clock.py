"""The clock of a replay: which event is shown as time passes, how fast, and the steps from one mark to the next.

It knows times and marks, no view and no terminal. Recorded time passes `speed` times as fast as the person's; a gap
between two events in which nothing happened for long passes in IDLE_SECONDS of recorded time.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

from tui.marks import Mark

SPEEDS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 125.0, 250.0, 500.0, 1000.0)
IDLE_SECONDS = 5.0
"""The longest that a gap between two events lasts, in seconds of recorded time."""
_WINDOW = 512
"""Times that are asked for at once."""


class Timeline(Protocol):
    """What the clock runs along, such as a Feed."""

    position: int

    @property
    def head(self) -> int:
        """The number of the newest event; the first is 1."""

    def times(self, after: int, limit: int) -> list[float]:
        """The Unix times of the events numbered above `after`, at most `limit` of them."""

    def marks(self) -> Sequence[Mark]:
        """What stands out, in order."""


class ReplayClock:
    """Where a replay stands. `position` is the event that is shown, `playing` whether time passes."""

    def __init__(self, timeline: Timeline, *, idle: float | None = IDLE_SECONDS) -> None:
        """It begins where the timeline stands, at the speed of the record. `idle` None: no gap is shortened."""
        self.timeline, self.idle = timeline, idle
        self.position = timeline.position
        self.playing = False
        self.speed = 1.0
        self._lead = 0.0
        """Recorded seconds that have passed since the event that is shown."""

    # --- playing ------------------------------------------------------------------------------------------------------
    def advance(self, seconds: float) -> int:
        """Let so many seconds of the person's pass; the event that is shown then. At the last one it holds.

        A recorded clock that was set back takes no time.
        """
        if not self.playing:
            return self.position
        self._lead += max(0.0, seconds) * self.speed
        while self.position < self.timeline.head:
            gaps = self._gaps()
            for gap in gaps:
                if self._lead < gap:
                    return self.position
                self._lead -= gap
                self.position += 1
            if not gaps:
                break
        self.playing, self._lead = False, 0.0
        return self.position

    def play_or_hold(self) -> int:
        """Play or hold; at the end, play from the beginning. The event that is shown then."""
        if not self.playing and self.position >= self.timeline.head:
            self.seek(1)
        self.playing = not self.playing
        return self.position

    def faster(self) -> float:
        """The next higher speed, 1000 at most; what it is now."""
        self.speed = next((speed for speed in SPEEDS if speed > self.speed), SPEEDS[-1])
        return self.speed

    def slower(self) -> float:
        """The next lower speed, 0.25 at least; what it is now."""
        self.speed = next((speed for speed in reversed(SPEEDS) if speed < self.speed), SPEEDS[0])
        return self.speed

    @property
    def now(self) -> float:
        """The recorded Unix time that it is: never after the next event."""
        here, *later = self.timeline.times(self.position - 1, 2)
        return min([here + self._lead, *(max(here, time) for time in later)])

    # --- jumping ------------------------------------------------------------------------------------------------------
    def seek(self, seq: int) -> int:
        """Stand at an event, brought to between 1 and the newest; what plays goes on from there."""
        self.position, self._lead = min(max(1, seq), self.timeline.head), 0.0
        return self.position

    def step(self, kind: str, by: int) -> int | None:
        """Go to the next (`by` 1) or previous (-1) "event", or mark of this kind, and hold; None if there is none."""
        if kind == "event":
            found = self.position + by
            if not 1 <= found <= self.timeline.head:
                return None
        else:
            there = [mark.seq for mark in self.timeline.marks() if mark.kind == kind]
            ahead = [seq for seq in there if (seq > self.position if by > 0 else seq < self.position)]
            if not ahead:
                return None
            found = ahead[0] if by > 0 else ahead[-1]
        self.playing = False
        return self.seek(found)

    def jump_to_trial(self, number: int) -> int | None:
        """Go to where a trial has just finished (0: the last run of the baseline); None if no such trial has."""
        ends = [mark.seq for mark in self.timeline.marks() if mark.kind == "trial" and mark.trial == number]
        return self.seek(ends[-1]) if ends else None

    def _gaps(self) -> list[float]:
        """The recorded seconds before each of the next events, as they are to pass."""
        times = self.timeline.times(self.position - 1, _WINDOW)
        longest = float("inf") if self.idle is None else self.idle
        return [min(max(0.0, later - earlier), longest) for earlier, later in pairwise(times)]
