"""What is shown at one moment: the view at an event, where that lies in the session, and what is selected."""

from dataclasses import dataclass, field

from engine.record.view import View
from tui.engine_watch import EngineState
from tui.feed import Feed


@dataclass
class Selection:
    """What the person has chosen; None follows what is newest."""

    trial: int | None = None
    parameter: str | None = None
    mechanism: str | None = None
    """The hash of its source."""


@dataclass(frozen=True)
class Moment:
    """Handed to every pane at each repaint. `now` is the Unix time that ages are told against."""

    feed: Feed
    engine: EngineState
    now: float
    replay: bool = False
    selection: Selection = field(default_factory=Selection)
    held: bool = False
    """The person holds what is shown while the session goes on."""
    only_looks: bool = False
    """The person can command nothing, although the session goes on."""
    newest: bool = False
    """What is told is the newest event, wherever the feed stands."""

    @property
    def view(self) -> View:
        """The session folded up to this moment."""
        return self.feed.newest if self.newest else self.feed.view

    @property
    def at_head(self) -> bool:
        """Whether nothing newer is known."""
        return self.feed.position >= self.feed.head

    @property
    def stale(self) -> bool:
        """Whether what is shown may be out of date: no engine answers although the session has not ended."""
        return not self.replay and self.engine.state in ("silent", "gone")
