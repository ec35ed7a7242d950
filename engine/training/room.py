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


class NoRoom(BilevelError):
    """The session is to end, and what it waited for never came."""


class Room:
    """The room in one folder's file system. `leaving` says whether waiting has lost its purpose."""

    def __init__(self, folder: Path, record: Callable[[Noted], Awaitable[None]]) -> None:
        self._said_room = True
        self._folder = folder
        self._record = record
        self.leaving: Callable[[], bool] = lambda: False

    @property
    def trouble(self) -> str | None:
        """Why the next run would have to wait now; None while there is room."""
        return None if self.there() else f"the disk of {self._folder} is full: runs wait until there is room again"

    def there(self) -> bool:
        """Whether a run may begin."""
        return shutil.disk_usage(self._folder).free >= NEEDED

    async def wait(self) -> None:
        """Return once there is room. Raises NoRoom when the session is to end before that."""
        await self._tell()
        while not self.there():
            if self.leaving():
                raise NoRoom("the disk had no room for another run")
            await asyncio.sleep(LOOK_SECONDS)
        await self._tell()

    async def watch(self) -> None:
        """For ever: note in the record when the disk is full, also while a run trains, and when it no longer is."""
        while True:
            await self._tell()
            await asyncio.sleep(LOOK_SECONDS)

    async def _tell(self) -> None:
        trouble = self.trouble
        if (trouble is None) == self._said_room:
            return
        self._said_room = trouble is None
        await self._record(
            Noted(severity="info", text="there is room on the disk again: the session goes on")
            if trouble is None
            else Noted(severity="error", text=trouble)
        )

    async def repeat(self, work: Callable[[], Awaitable[T]]) -> T:
        """The outcome of work that needs room: where it fails for want of it, again once there is some."""
        while True:
            await self.wait()
            try:
                return await work()
            except (BilevelError, OSError):
                if self.there():
                    raise
