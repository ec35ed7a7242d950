"""The folder of a session's modules, watched while the search goes on: a person's change to a file is noticed.

The system says when something happens there (inotify, by watchfiles). What happened is found by looking: a file whose
size, time or identity differs is handed on. It is looked every few seconds in any case, for a folder on another
machine or one that was taken away and came back, and where the system has no watch to give that is all there is.
"""

import asyncio
import logging
import os
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

from engine.record.events import Noted
from engine.record.journal import Journal
from engine.session.editing import Editing

log = logging.getLogger(__name__)
LOOK_SECONDS = 5.0
QUIET_MILLISECONDS = 200
"""A file that is being written is looked at once nothing has changed for so long."""
Mark = tuple[int, ...]


class Watching:
    """Watches one folder, which need not be there."""

    def __init__(self, journal: Journal, folder: Path, editing: Editing) -> None:
        self.journal = journal
        self.folder = folder
        self.editing = editing
        self._marks: dict[str, Mark | None] = {}
        self._system_watches = True

    async def run(self) -> None:
        """Until it is cancelled; what is still being validated then ends with it. No failure is raised."""
        try:
            while not self.journal.view.mechanisms:
                await self.journal.changed()
            while True:
                await self._one_folder()
                await asyncio.sleep(LOOK_SECONDS)
        except Exception as error:
            log.exception("the modules' files are not watched any more")
            await self._note(f"changes to the mechanisms' files are not noticed any more ({error}): use `bilevel edit`")
        finally:
            await self.editing.close()

    async def _one_folder(self) -> None:
        """Look whenever something happens, until the folder is another one, or none."""
        watched = _mark(self.folder)
        if watched is None:
            return
        async with aclosing(self._moments()) as moments:
            async for _ in moments:
                await self._look()
                now = _mark(self.folder)
                if now is None or now[:2] != watched[:2]:
                    return

    async def _moments(self) -> AsyncGenerator[None]:
        """At once, whenever the system says that something happened in the folder, and every few seconds."""
        if self._system_watches:
            from watchfiles import awatch  # 60 ms to load, and only sessions with mechanisms need it

            yield
            changes = awatch(
                self.folder,
                watch_filter=None,
                step=QUIET_MILLISECONDS,
                rust_timeout=round(1000 * LOOK_SECONDS),
                yield_on_timeout=True,
                recursive=False,
            )
            try:
                async with aclosing(changes):
                    async for _ in changes:
                        yield
            except FileNotFoundError:
                return
            except (OSError, RuntimeError) as error:
                self._system_watches = False
                await self._note(
                    f"the system gives no watch on {self.folder} ({error}): it is looked at every {LOOK_SECONDS:g} s"
                )
        while True:
            yield
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> None:
        for path in {known.path for known in self.journal.view.mechanisms.values()}:
            mark = _mark(Path(path))
            if mark != self._marks.get(path):
                self._marks[path] = mark
                await self.editing.notice(path)

    async def _note(self, text: str) -> None:
        await self.journal.record(Noted(severity="warning", text=text))


def _mark(path: Path) -> Mark | None:
    """Device, inode, size and time of the last change of a file or folder; None where there is none."""
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns
