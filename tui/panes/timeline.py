"""The timeline of a replay: where it stands between the first event and the last, with marks at what stands out."""

import time

from rich.text import Text
from textual import events
from textual.message import Message

from engine.record.reader import RecordError
from tui.moment import Moment
from tui.panes.glyphs import BEST, FROZEN_BY_LEVEL, INJECTION, OUT
from tui.panes.phrases import Part, row
from tui.replay_clock import ReplayClock
from tui.widgets.block import Block

SIGNS = {
    "freeze": (FROZEN_BY_LEVEL, "accent"),
    "crash": ("✗", "bad"),
    "retired": (OUT, "warn"),
    "reverted": (OUT, "warn"),
    "best": (BEST, "good"),
    "injection": (INJECTION, "accent"),
    "end": ("■", "strong"),
}
"""The sign of each mark; of two on one place the later in this order is shown."""
_RANKS = {kind: rank for rank, kind in enumerate(SIGNS)}
_LEGEND = f"{BEST} best  {INJECTION} injection  {OUT} out  {FROZEN_BY_LEVEL} freeze  ✗ crash"


class Timeline(Block):
    """Two lines: the marks along the session, and the clock. A click goes to the event under it."""

    DEFAULT_CSS = "Timeline { padding: 0 1; background: $panel; }"

    class Chosen(Message):
        """An event was clicked at."""

        def __init__(self, seq: int) -> None:
            super().__init__()
            self.seq = seq

    def __init__(self) -> None:
        super().__init__(id="timeline")
        self._shown: tuple[object, ...] = ()
        self._marked: tuple[object, ...] = ()
        self._signs: list[tuple[str, str]] = []
        self._head = 1

    def show(self, moment: Moment, clock: ReplayClock) -> None:
        """Bring it to the moment, and to the clock that walks."""
        feed, width = moment.feed, max(10, (self.size.width or self.app.size.width - 2))
        now = _time(moment, clock)
        key = (feed.position, feed.head, clock.playing, clock.speed, now, width)
        if key == self._shown:
            return
        self._shown, self._head = key, feed.head
        self.show_lines([self._line(moment, width), _clock(moment, clock, now, width)])

    def _line(self, moment: Moment, width: int) -> Text:
        """The marks, what lies behind in bold, and where it stands."""
        feed = moment.feed
        marked = (feed.head, len(feed.marks()), width)
        if marked != self._marked:
            self._marked, self._signs = marked, _signs(moment, width)
        here = _place(feed.position, feed.head, width)
        line = Text()
        for place, (sign, style) in enumerate(self._signs):
            if place == here:
                line.append(sign if style else "●", "alert")
            else:
                line.append(sign if style or place > here else "━", style or ("strong" if place < here else "dim"))
        return line

    def on_click(self, event: events.Click) -> None:
        width = max(2, self.size.width)
        offset = event.get_content_offset(self)
        if offset is not None:
            self.post_message(self.Chosen(1 + round(offset.x * (self._head - 1) / (width - 1))))


def _time(moment: Moment, clock: ReplayClock) -> int:
    """The recorded Unix time that it is; that of the event where the record cannot be read, which is said elsewhere."""
    try:
        return int(clock.now)
    except RecordError:
        return int(moment.view.time)


def _signs(moment: Moment, width: int) -> list[tuple[str, str]]:
    signs = [("─", "")] * width
    ranks = [-1] * width
    for mark in moment.feed.marks():
        rank = _RANKS.get(mark.kind, -1)
        place = _place(mark.seq, moment.feed.head, width)
        if rank >= ranks[place] and rank >= 0:
            ranks[place], signs[place] = rank, SIGNS[mark.kind]
    return signs


def _place(seq: int, head: int, width: int) -> int:
    return round((seq - 1) * (width - 1) / max(1, head - 1))


def _clock(moment: Moment, clock: ReplayClock, now: int, width: int) -> Text:
    feed = moment.feed
    state = ("▶ plays", "good") if clock.playing else ("■ ended" if moment.at_head else "‖ held", "warn")
    left = [
        Part(0, Text.assemble(state, f" {clock.speed:g}x")),
        Part(1, Text(time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now)))),
        Part(0, Text(f"trial {moment.view.completed}")),
        Part(2, Text(f"event {feed.position:,} of {feed.head:,}", "dim")),
    ]
    return row(left, [Part(3, Text(_LEGEND, "dim"))], width, "   ")
