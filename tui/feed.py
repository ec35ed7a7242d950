"""A session of a record, live or replayed, as one code path: the view at a position, and windows on everything else.

Live is a position that stays at the newest event; replay is one that a clock moves. Either way the view is what the
engine itself folds from the events up to there. Nothing is written, and trouble with the file never raises out of
`poll` and `seek`: what is shown stays, and `trouble` says in a sentence what is the matter.
"""

import gc
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from engine.errors import BilevelError
from engine.record import events as ev
from engine.record.reader import Reader, RecordError, Row
from engine.record.schema import VIEW_ONLY_KINDS
from engine.record.seeking import advance, copied
from engine.record.view import View
from engine.record.wording import clean
from tui.marks import MARKED, Mark, Marks

__all__ = ["Feed", "Mark"]

KEYFRAME_EVENTS = 1000
"""State-bearing events between two copies of the view, from which a seek begins."""


class _Front:
    """What is known of all events: the view at the newest one, the marks, copies of the view on the way.

    A copy is made when a seek needs it, or there is time: opening a session does not wait for them.
    """

    def __init__(self, reader: Reader, session: str) -> None:
        self.reader, self.session = reader, session
        self.view = View()
        self.marks = Marks()
        self.keyframes: list[View] = [View()]
        self.unread: Counter[str] = Counter()
        self._folded = 0
        """State-bearing events in the view."""

    def advance(self, to: int) -> None:
        """Fold on to the event `to`."""
        advance(self.view, self.reader, self.session, to, folded=self._note, unread=self._cannot_read)
        if self.view.seq < to:
            raise RecordError(f"the record {self.reader.path} is damaged: event {to} of {self.session} is missing")

    def add_keyframe(self) -> bool:
        """Make the next copy; False where there are no events for it yet."""
        if self._folded < len(self.keyframes) * KEYFRAME_EVENTS:
            return False
        view = copied(self.keyframes[-1])
        advance(view, self.reader, self.session, self.view.seq, most=KEYFRAME_EVENTS, unread=lambda row, error: None)
        self.keyframes.append(view)
        return True

    def keyframe(self, seq: int) -> View:
        """The newest copy that is not after `seq`, not to be changed."""
        while self.keyframes[-1].seq < seq and self.add_keyframe():
            pass
        return self.keyframes[bisect_right(self.keyframes, seq, key=lambda view: view.seq) - 1]

    def _note(self, row: Row, event: ev.Event) -> None:
        self._folded += 1
        if type(event) in MARKED:
            self.marks.note(row, event, self.view)

    def _cannot_read(self, row: Row, error: Exception) -> None:
        self.unread[row.kind] += 1


class Feed:
    """One session at one event. For one thread; a context manager, or `close` it.

    `view` is the session folded up to event `position`; `head` is the newest event known. Following, the view changes
    in place when `poll` finds more. `trouble` is a sentence, empty while all is well.
    """

    def __init__(self, db: Path, session: str, *, follow: bool = True) -> None:
        """Open the record at the newest event, or at the first one. `session` may be a unique beginning, or `last`.

        Raises InputError where there is no such record or session, RecordError where it cannot be read.
        """
        self.session = session
        self.view: View
        self.position: int
        self.head: int
        self._front: _Front
        self._file: tuple[int, int] | None
        self._version: int
        self._trouble = ""
        self._reader = Reader(db)
        try:
            self.session = session if self._reader.last_seq(session) else self._reader.resolve(session)
            self._open()
        except BilevelError:
            self._reader.close()
            raise
        self.follow()
        if not follow:
            self.seek(1)
            self._follows = False

    # --- where it stands ----------------------------------------------------------------------------------------------
    @property
    def db(self) -> Path:
        """The record's file, links followed."""
        return self._reader.path

    @property
    def trouble(self) -> str:
        """Why what is shown may be old or not all; empty while all is well."""
        return self._trouble or self._unread_told()

    def poll(self) -> bool:
        """Look for new events; True if there are any. Following, the view is folded on.

        Cheap where there are none, but for the copies of a long session's view, of which each such look makes one.
        """
        try:
            if self._is_replaced():
                self._reopen()
                return True
            version = self._reader.data_version()
            if version == self._version:
                self._front.add_keyframe()
                return False
            head = self._reader.last_seq(self.session)
            if head < self.head:
                self._reopen()
                return True
            self._version, self._trouble = version, ""
            if head == self.head:
                return False
            self._front.advance(head)
        except BilevelError as error:
            # What was folded by half is folded anew once the record can be read.
            self._version, self._file = -1, None
            self._trouble = f"{error}; what is shown is from before"
            return False
        self.head = head
        if self._follows:
            self.follow()
        return True

    def seek(self, seq: int) -> None:
        """Stand at event `seq`, brought to between 1 and `head`; it follows on only from the head."""
        seq = min(max(1, seq), self.head)
        if seq == self.head:
            self.follow()
            return
        try:
            keyframe = self._front.keyframe(seq)
            view = self.view if self._goes_on(keyframe, seq) else copied(keyframe)
            advance(view, self._reader, self.session, seq, unread=lambda row, error: None)
        except RecordError as error:
            self._version, self._file = -1, None
            self._trouble = f"{error}; what is shown is from before"
            return
        self.view, self.position, self._follows = view, seq, False

    def follow(self) -> None:
        """Stand at the newest event, and stay there as more come."""
        self.view, self.position, self._follows = self._front.view, self.head, True

    def hold(self) -> None:
        """Stay at the event that is shown, whatever comes; `poll` still looks for it, `follow` goes there."""
        if self._follows:
            self.view, self._follows = copied(self._front.view), False

    @property
    def newest(self) -> View:
        """The session folded up to `head`, wherever it stands."""
        return self._front.view

    def close(self) -> None:
        """Close the record. May be called twice."""
        self._reader.close()

    def __enter__(self) -> "Feed":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # --- windows ------------------------------------------------------------------------------------------------------
    def marks(self) -> Sequence[Mark]:
        """What stands out in all events up to `head`, in order; grows with `poll`."""
        return self._front.marks

    def rows(self, after: int, limit: int, kinds: Sequence[str] | None = None) -> list[Row]:
        """The events numbered above `after`, at most `limit` of them. Raises RecordError."""
        return list(self._reader.events(self.session, after, kinds, _state_only(kinds), limit))

    def times(self, after: int, limit: int) -> list[float]:
        """The Unix times of the events numbered above `after`, at most `limit` of them. Raises RecordError."""
        return self._reader.times(self.session, after, limit)

    def blob(self, digest: str) -> bytes:
        """A content by its hash. Raises RecordError if it is missing or damaged."""
        return self._reader.blob(digest)

    def blob_size(self, digest: str) -> int | None:
        """The bytes of a content; None where the record does not hold it. Raises RecordError."""
        return self._reader.blob_size(digest)

    def finished(self, run: str) -> ev.TrialFinished | None:
        """How a run ended, be it after this position; None while it has not."""
        return self._front.view.finished_runs.get(run)

    # --- the file -----------------------------------------------------------------------------------------------------
    def _open(self) -> None:
        """Fold the record that the reader has open, from its first event."""
        self._file = self._identity()
        self._version = self._reader.data_version()
        head = self._reader.last_seq(self.session)
        if not head:
            raise RecordError(f"the record {self.db} holds no session {self.session} any more")
        front = _Front(self._reader, self.session)
        with _no_collection():
            front.advance(head)
        self._front, self.head = front, head

    def _reopen(self) -> None:
        """Take up the file that has the record's name now. Raises BilevelError; what was shown stays then."""
        elder, self._reader = self._reader, Reader(self.db)
        try:
            self._open()
        except BilevelError:
            self._reader.close()
            self._reader = elder
            raise
        elder.close()
        self._trouble = ""
        position, follows = self.position, self._follows
        self.follow()  # the elder view is of another record: nothing goes on from it
        if not follows:
            self.seek(position)
            self._follows = False

    def _is_replaced(self) -> bool:
        return self._identity() != self._file

    def _identity(self) -> tuple[int, int]:
        """The file that has the name. Raises RecordError if there is none."""
        try:
            found = self.db.stat()
        except OSError as error:
            raise RecordError(f"the record {self.db} cannot be found any more ({error.strerror})") from None
        return found.st_dev, found.st_ino

    def _goes_on(self, keyframe: View, seq: int) -> bool:
        """Whether to go on from where it stands, rather than from a keyframe; the front's view is never moved on."""
        return self.view is not self._front.view and keyframe.seq <= self.position <= seq

    def _unread_told(self) -> str:
        unread = self._front.unread
        if not unread:
            return ""
        kinds = ", ".join(clean(kind, 40) for kind in sorted(unread)[:5])
        return (
            f"{unread.total()} events of this session could not be read ({kinds}), perhaps those of a newer version: "
            "the rest is shown; update bilevel to see all"
        )


def _state_only(kinds: Sequence[str] | None) -> bool:
    return kinds is not None and not set(kinds) & set(VIEW_ONLY_KINDS)


@contextmanager
def _no_collection() -> Iterator[None]:
    """Without the collector's passes over objects that all stay: they take a third of the time of a long session."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was:
            gc.enable()
