"""Room on the disk for runs: a full disk stops no session, the next step waits and says so.

`work` that is repeated must leave nothing half done where it fails. What the record itself needs is the journal's care.
"""

import asyncio
import errno
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from engine.errors import BilevelError
from engine.record.events import Noted

T = TypeVar("T")
NEEDED = 32 << 20
"""Bytes that must be free before a run begins; with less the next one waits."""
LOOK_SECONDS = 5.0


def is_full(error: OSError) -> bool:
    """Whether an error means that the disk, or this user's part of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


class Room:
    """The room in one folder's file system. `trouble` says why something waits now, None while nothing does."""

    def __init__(self, folder: Path, record: Callable[[Noted], Awaitable[None]]) -> None:
        self.trouble: str | None = None
        self._folder = folder
        self._record = record

    def there(self) -> bool:
        """Whether a run may begin."""
        return shutil.disk_usage(self._folder).free >= NEEDED

    async def wait(self) -> None:
        """Return once there is room; a wait is noted in the record, and its end."""
        if self.there():
            return
        self.trouble = f"the disk of {self._folder} is full: the next run waits until there is room again"
        await self._record(Noted(severity="error", text=self.trouble))
        while not self.there():  # noqa: ASYNC110 - a file system tells nobody
            await asyncio.sleep(LOOK_SECONDS)
        self.trouble = None
        await self._record(Noted(severity="info", text="there is room on the disk again: the session goes on"))

    async def repeat(self, work: Callable[[], Awaitable[T]]) -> T:
        """The outcome of work that needs room: where it fails for want of it, again once there is some."""
        while True:
            await self.wait()
            try:
                return await work()
            except (BilevelError, OSError):
                if self.there():
                    raise
