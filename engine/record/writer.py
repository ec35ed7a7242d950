"""One task that owns the one connection which writes: work comes in a queue and is done in order.

A task that waits for its work may be cancelled; the work is done all the same, and the cancellation is raised once the
outcome is settled. A lock that another process holds is waited for with jitter and within a bound. The connection is
closed however the task ends, since aiosqlite's is a thread that would keep the process from ending. What is written is
the store's matter.
"""

import asyncio
import contextlib
import random
import sqlite3
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import aiosqlite

from engine.record.hold import Hold
from engine.record.schema import RecordError, is_busy, translate, uri

T = TypeVar("T")
BUSY_MS = 100
"""How long SQLite itself waits for a lock; longer waits are the writer's, which can be jittered and bounded."""


class Writer:
    """The connection to the database that is held, and the task that works on it. Made by `Writer.open`; `close` it."""

    def __init__(self, hold: Hold, connection: aiosqlite.Connection, patience: float) -> None:
        self.path = hold.path
        self.hold = hold
        self.connection = connection
        """For use within submitted work only."""
        self._patience = patience
        self._closing = False
        self._queue: asyncio.Queue[tuple[Callable[[], Awaitable[Any]], asyncio.Future[Any]] | None] = asyncio.Queue()
        self._task = asyncio.create_task(self._work(), name="record writer")

    @classmethod
    async def open(cls, hold: Hold, patience: float) -> "Writer":
        """Connect to an existing database and set it up for durable commits. Raises RecordError.

        The hold is the writer's from then on, also if this fails.
        """
        try:
            connection = await aiosqlite.connect(uri(hold.path, "rw"), uri=True, isolation_level=None)
        except BaseException as error:
            hold.close()
            if isinstance(error, sqlite3.Error):
                raise translate(error, hold.path) from error
            raise
        try:
            for setting in (f"busy_timeout = {BUSY_MS}", "journal_mode = WAL", "synchronous = FULL", "mmap_size = 0"):
                await connection.execute_fetchall(f"PRAGMA {setting}")
            await connection.execute_fetchall("PRAGMA schema_version")  # reads, so that the WAL is there
            hold.keep_log()
        except BaseException as error:
            await _disconnect(connection, hold)
            if isinstance(error, sqlite3.Error):
                raise translate(error, hold.path) from error
            raise
        return cls(hold, connection, patience)

    async def submit(self, work: Callable[[], Awaitable[T]]) -> T:
        """Have the task do this work after what was submitted before, and return its result or raise its error."""
        if self._closing:
            raise RecordError(f"the record {self.path} is closed")
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((work, done))
        return await _settled(done)

    async def transact(self, work: Callable[[], Awaitable[T]], committed: Callable[[T], None] | None = None) -> T:
        """Run `work` in a transaction of its own; nothing of it is kept if it raises.

        `committed` is called with the result before any other work begins. Waits for another process's lock as long
        as the patience lasts, then raises RecordLocked. Raises RecordMissing while the file is not in its place.
        """

        async def transaction() -> T:
            self.hold.check()
            await self.connection.execute_fetchall("BEGIN IMMEDIATE")
            result = await work()
            await self.connection.execute_fetchall("COMMIT")
            if self.hold.log_is_lost():
                # Somebody removed the WAL: what was committed is in a file that ends with this process, unless it is
                # copied into the database before it counts as written.
                await self.connection.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
            if committed is not None:
                committed(result)
            return result

        return await self.submit(lambda: self._patiently(transaction))

    async def close(self) -> None:
        """Finish what was submitted, then close. May be called twice."""
        if not self._closing:
            self._closing = True
            self._queue.put_nowait(None)
        await _settled(self._task)

    async def _work(self) -> None:
        try:
            while (job := await self._queue.get()) is not None:
                work, done = job
                try:
                    done.set_result(await work())
                except Exception as error:
                    done.set_exception(error)
                except BaseException:
                    # The event loop is being torn down; whoever waits must learn that this was not acknowledged.
                    done.set_exception(RecordError(f"the record {self.path} was closed during a write"))
                    raise
        finally:
            self._closing = True
            while not self._queue.empty():
                if job := self._queue.get_nowait():
                    job[1].set_exception(RecordError(f"the record {self.path} is closed"))
            await _disconnect(self.connection, self.hold)

    async def _patiently(self, work: Callable[[], Awaitable[T]]) -> T:
        deadline = time.monotonic() + self._patience
        while True:
            try:
                return await work()
            except sqlite3.Error as error:
                await self._roll_back()
                if not is_busy(error) or time.monotonic() >= deadline:
                    raise translate(error, self.path) from error
            except BaseException:
                await self._roll_back()
                raise
            await asyncio.sleep(random.uniform(0.02, 0.1))

    async def _roll_back(self) -> None:
        # After some failures SQLite has rolled back by itself; a failing rollback leaves nothing to do but report
        # the first error, and the next BEGIN says whether the connection still works.
        if self.connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                await self.connection.execute_fetchall("ROLLBACK")


async def _disconnect(connection: aiosqlite.Connection, hold: Hold) -> None:
    """Close the connection, the last of which copies the WAL into the database and removes it, and then let go."""
    try:
        hold.free_log()
        await connection.close()
    finally:
        hold.close()


async def _settled(done: "asyncio.Future[T]") -> T:
    """The outcome of `done`, which a cancellation of the waiting task neither disturbs nor overtakes."""
    cancelled: asyncio.CancelledError | None = None
    while not done.done():
        try:
            await asyncio.wait([done])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled from (None if done.cancelled() else done.exception())
    return done.result()
