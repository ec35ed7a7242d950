"""All sessions of a record with what each came to, read by a thread: what is seen first, the rest behind it.

A session is folded once, and again only when it has grown; the one that grows is folded on from where it was. Whoever
draws looks at `version`, and takes `entries` when that has changed.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from engine.errors import BilevelError
from engine.record.lock import holder
from engine.record.reader import Reader, SessionRow
from engine.record.seeking import advance
from engine.record.view import ENDED, View
from engine.record.wording import clean, metric_name

LOOK_SECONDS = 0.5
"""Between two looks at the record."""


@dataclass(frozen=True)
class Summary:
    """What a session is and came to at its event `seq`. Metrics in the target's unit, `seconds` those it was active."""

    seq: int
    status: str
    target: str
    profile: str
    metric: str
    model: str
    stand_in: bool
    done: int
    of: int
    best: float | None
    gain: float | None
    """From the baseline to the best trial; None while no trial is better."""
    confirmed: float | None
    interval: tuple[float, float] | None
    mechanisms: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Entry:
    """A session of the list; `summary` is None until it was read, `alive` says that an engine runs it."""

    row: SessionRow
    summary: Summary | None
    alive: bool

    @property
    def id(self) -> str:
        return self.row.id

    @property
    def state(self) -> str:
        """running, paused, finished, failed, or interrupted: not ended, and no engine runs it. Empty while unread."""
        if self.summary is None:
            return "running" if self.alive else ""
        return state_of(self.summary.status, alive=self.alive)

    def has(self, words: Sequence[str]) -> bool:
        """Whether all of the words, in small letters, occur in what there is to read of it."""
        text = " ".join(self._texts()).lower()
        return all(word in text for word in words)

    def _texts(self) -> Iterator[str]:
        yield from (self.id, self.state)
        if self.summary is not None:
            yield from (self.summary.target, self.summary.profile, self.summary.model, *self.summary.mechanisms)
            yield "stand-in" if self.summary.stand_in else ""


def state_of(status: str, *, alive: bool) -> str:
    """The state of a session with this status: one that no engine runs, although it has not ended, is interrupted."""
    return status if alive or status in ENDED else "interrupted"


def summary_of(view: View) -> Summary:
    """The summary of a view."""
    best, baseline, confirmed = view.history.best, view.baseline, view.confirmed
    better = best is not None and best.number > 0 and baseline is not None and baseline.metric is not None
    return Summary(
        seq=view.seq,
        status=view.status,
        target=clean(view.target.get("name", "?"), 60),
        profile=clean(view.settings.profile, 20),
        metric=clean(metric_name(view), 20),
        model=clean(view.model, 60),
        stand_in=view.stand_in,
        done=view.completed,
        of=view.settings.trials,
        best=best.metric if best else None,
        gain=best.metric - baseline.metric if better else None,
        confirmed=confirmed.difference if confirmed else None,
        interval=confirmed.interval if confirmed else None,
        mechanisms=tuple(dict.fromkeys(clean(known.name, 40) for known in view.mechanisms.values())),
        seconds=view.active_seconds,
    )


class Listing:
    """The sessions of a record, the newest first. Reads in a thread of its own until it is closed.

    `trouble` is a sentence, empty while all is well: there may be no record yet.
    """

    def __init__(self, db: Path) -> None:
        self.db = db
        self.version = 0
        self.trouble = ""
        self.listed = False
        """Whether the record has been looked at."""
        self._rows: list[SessionRow] = []
        self._summaries: dict[str, Summary] = {}
        self._alive: str | None = None
        self._wanted: Sequence[str] = ()
        self._grown: View | None = None
        """The view of the session that was folded last: the one that grows is not folded from its beginning."""
        self._record: tuple[int, int] | None = None
        """The file that was read."""
        self._closed, self._awake = threading.Event(), threading.Event()
        self._awake.set()
        self._thread = threading.Thread(target=self._watch, name="listing", daemon=True)
        self._thread.start()

    @property
    def entries(self) -> list[Entry]:
        """The sessions as they are known now."""
        return [Entry(row, self._summaries.get(row.id), row.id == self._alive) for row in self._rows]

    @property
    def read(self) -> int:
        """How many of them were read."""
        return len(self._summaries)

    def want(self, sessions: Sequence[str]) -> None:
        """Read these before the others."""
        self._wanted = sessions

    def rest(self, resting: bool) -> None:
        """Read nothing for a while: what lies over the list has the processor for itself."""
        (self._awake.clear if resting and not self._closed.is_set() else self._awake.set)()

    def close(self) -> None:
        """Read no more. Does not wait for what is being read. May be called twice."""
        self._closed.set()
        self._awake.set()

    # --- in the thread ------------------------------------------------------------------------------------------------
    def _watch(self) -> None:
        while not self._closed.is_set():
            try:
                with closing(Reader(self.db)) as reader:
                    self._follow(reader)
            except BilevelError as error:
                self._say(str(error))
                self._closed.wait(LOOK_SECONDS)

    def _follow(self, reader: Reader) -> None:
        """Look until the list is closed, or another file has the record's name. Raises RecordError."""
        file, version = self._file(), -1
        if file != self._record:
            self._record, self._summaries, self._grown = file, {}, None
        while self._goes_on() and self._file() == file:
            now = reader.data_version()
            if now != version:
                self._rows, version = reader.sessions(), now
                here = {row.id for row in self._rows}
                self._summaries = {name: found for name, found in self._summaries.items() if name in here}
                self.version += 1
            self._see_engine()
            self._say("")
            while row := self._next():
                if not self._goes_on():
                    return
                self._summaries[row.id] = self._summary(reader, row)
                self.version += 1
            self._closed.wait(LOOK_SECONDS)

    def _goes_on(self) -> bool:
        """Whether there is more to do, once it does not rest."""
        self._awake.wait()
        return not self._closed.is_set()

    def _file(self) -> tuple[int, int] | None:
        try:
            found = self.db.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _see_engine(self) -> None:
        found = holder(self.db)
        alive = found.session if found else None
        if alive != self._alive:
            self._alive = alive
            self.version += 1

    def _say(self, trouble: str) -> None:
        if trouble != self.trouble or not self.listed:
            self.trouble, self.listed = trouble, True
            self.version += 1

    def _next(self) -> SessionRow | None:
        """The session to be read next: one that is wanted, else the newest of which not all was read."""
        behind = [
            row for row in self._rows if row.id not in self._summaries or self._summaries[row.id].seq < row.events
        ]
        wanted = self._wanted
        return next((row for row in behind if row.id in wanted), behind[0] if behind else None)

    def _summary(self, reader: Reader, row: SessionRow) -> Summary:
        grown = self._grown
        view = grown if grown is not None and grown.session == row.id and grown.seq < row.events else View()
        advance(view, reader, row.id, row.events, unread=lambda row, error: None)
        if self._grown is None or row.id == self._alive or view.session == self._grown.session:
            self._grown = view
        return summary_of(view)
