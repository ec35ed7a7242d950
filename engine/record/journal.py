"""The journal of the session that runs: events go to disk first, then into the view, in one order for everybody.

Several tasks record at once; a lock makes the order of the database the order of the view. A full disk, a locked
database or one that was moved away does not end a session: `record` waits and tries again, so nothing new starts, and
says what the trouble was once it is over. Only the engine has a journal; viewers read.
"""

import asyncio
import logging
import time
from collections.abc import Sequence

from engine.record.events import Event, Noted, TrialProgress
from engine.record.folding import apply
from engine.record.reader import Reader
from engine.record.store import DiskFull, RecordLocked, RecordMissing, Store
from engine.record.view import View

log = logging.getLogger(__name__)
RETRY_SECONDS = 1.0


class Journal:
    """Records events of one session and holds the view that they fold into."""

    def __init__(self, store: Store, session: str, view: View) -> None:
        self.store = store
        self.session = session
        self.view = view
        self.trouble: str | None = None
        """Why events wait to be written now, None while all is well."""
        self.closed = False
        """Set when this engine leaves: what happens from then on is for the next one to find out."""
        self._lock = asyncio.Lock()
        self._changed = asyncio.Event()

    async def record(self, *events: Event, blobs: Sequence[bytes] = ()) -> None:
        """Return once the events (and blobs) are on disk and in the view.

        A caller that is cancelled meanwhile does not tear the two apart. Progress is dropped while there is trouble.
        """
        if self.closed:
            raise asyncio.CancelledError
        if self.trouble and all(isinstance(event, TrialProgress) for event in events):
            return
        await asyncio.shield(asyncio.ensure_future(self._record(events, blobs)))

    async def changed(self) -> None:
        """Wait until something was recorded, or somebody called `wake`."""
        await self._changed.wait()

    def wake(self) -> None:
        """Let everybody who waits in `changed` look again."""
        self._changed.set()
        self._changed = asyncio.Event()  # who waited has been woken; the next one waits for the next change

    async def blob(self, digest: str) -> bytes:
        """A blob of the record. Raises RecordError when it is not there."""

        def read() -> bytes:
            with Reader(self.store.path) as reader:
                return reader.blob(digest)

        return await asyncio.to_thread(read)

    async def _record(self, events: Sequence[Event], blobs: Sequence[bytes]) -> None:
        async with self._lock:
            since = time.monotonic()
            await self._append(events, blobs)
            while self.trouble:  # the note may meet the same trouble again
                text = (
                    f"{self.trouble}; nothing was lost, and the session went on after {time.monotonic() - since:.0f} s"
                )
                self.trouble = None
                await self._append([Noted(severity="warning", text=text)], ())
        self.wake()

    async def _append(self, events: Sequence[Event], blobs: Sequence[bytes]) -> None:
        while True:
            try:
                rows = await self.store.append(self.session, events, blobs)
            except (DiskFull, RecordLocked, RecordMissing) as error:
                if self.trouble != str(error):
                    log.warning("%s", error)
                self.trouble = str(error)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            for (seq, when), event in zip(rows, events, strict=True):
                apply(self.view, seq, when, event)
            return
