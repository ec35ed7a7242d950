"""The only writer of sessions.db.

One task owns one connection (writer.py); everything that is to be written passes through it in order. `append` returns
once its events are on the disk (WAL, synchronous FULL), all of them or none. Cancelling a task that waits in `append`
does not withdraw the events: the cancellation is raised once they are settled, so nothing is written behind a caller's
back. A write that fails because the disk is full or the record is locked leaves nothing half-written, and the caller
may repeat it: where a commit's outcome was unknown, the repetition finds the events there and does not double them.

Not here: reading for viewers (reader.py), damage (recovery.py), who may write at all (lock.py).
"""

import asyncio
import contextlib
import os
import re
import sqlite3
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from engine.errors import InputError
from engine.record.creation import prepare
from engine.record.events import SCHEMA, Event, encode, kind_of
from engine.record.head import Head, clear_head, head_path, read_head, write_head
from engine.record.schema import (
    GENESIS,
    DiskFull,
    DuplicateAttempt,
    DuplicateResult,
    NotARecord,
    RecordBroken,
    RecordError,
    RecordInUse,
    RecordLocked,
    RecordMissing,
    beside,
    blob_hash,
    chain_hash,
    is_busy,
    replace_durably,
    translate,
    translate_backup,
)
from engine.record.writer import Writer

__all__ = [
    "DiskFull",
    "DuplicateAttempt",
    "DuplicateResult",
    "NotARecord",
    "RecordBroken",
    "RecordError",
    "RecordInUse",
    "RecordLocked",
    "RecordMissing",
    "Stamp",
    "Store",
    "blob_hash",
]

_HASHES = re.compile(r"[0-9a-f]{64}")


class Stamp(NamedTuple):
    """What the record gave an event: its number in the session and its Unix time in seconds."""

    seq: int
    time: float


@dataclass(frozen=True)
class _Batch:
    """What one `append` writes; each event as (kind, body)."""

    session: str
    time: float
    events: tuple[tuple[str, str], ...]
    blobs: tuple[bytes, ...]


@dataclass(frozen=True)
class _Written:
    """A batch in the database, committed or about to be, and what it leaves as the session's last event."""

    batch: _Batch
    stamps: list[Stamp]
    tail: tuple[int, bytes]


class Store:
    """The open record, for the one process that holds the engine's lock. Made by `Store.open`; `close` it."""

    def __init__(self, path: Path, writer: Writer, identity: str) -> None:
        self.path = path
        self._writer = writer
        self._connection = writer.connection
        self._identity = identity
        self._note = head_path(path)  # once, since links are followed for it
        self._saved: Path | None = None
        self._uncertain: dict[str, _Written] = {}
        """By session: what was about to be committed when the last commit began, until it succeeds."""

    @classmethod
    async def open(cls, path: Path, *, patience: float = 10.0) -> "Store":
        """Open the record for writing, creating it if it is missing.

        `patience` is how long, in seconds, a write waits for another process's lock. Raises RecordError with one
        sentence if the file is not a database, another program's, a newer version's, or broken, RecordInUse if another
        store is open on it.
        """
        hold, identity = await asyncio.to_thread(prepare, path)
        return cls(hold.path, await Writer.open(hold, patience), identity)

    async def append(self, session: str, events: Sequence[Event], blobs: Sequence[bytes] = ()) -> list[Stamp]:
        """Write the events and blobs in one transaction and return each event's number and time.

        Raises DiskFull, RecordLocked, RecordMissing (these: repeat the same call later), DuplicateResult,
        DuplicateAttempt, RecordBroken, or RecordError once the store is closed.

        When the file was deleted, what it held is still open here, and is saved to another one, which the error names.
        """
        texts = tuple((kind_of(event), encode(event).decode()) for event in events)
        batch = _Batch(session, time.time(), texts, tuple(blobs))
        try:
            return (await self._writer.transact(lambda: self._append(batch), self._acknowledge)).stamps
        except RecordMissing as missing:
            if missing.deleted:
                raise RecordMissing(f"{missing}; {await self._save()}", deleted=True) from missing
            raise

    async def checkpoint(self) -> bool:
        """Copy the WAL into the database and empty it. False if a long reader or writer stands in the way.

        While it does, the WAL can only grow; `wal_bytes` says how far it is.
        """
        return await self._writer.submit(self._checkpoint)

    @property
    def wal_bytes(self) -> int:
        """The size of the WAL, in bytes."""
        try:
            return beside(self.path, "-wal").stat().st_size
        except FileNotFoundError:
            return 0

    async def backup(self, destination: Path) -> None:
        """Write a copy of the whole record to `destination`, one self-contained file; an elder one is replaced.

        The copy is made under a temporary name and renamed once it is on the disk. Raises InputError for a
        destination that is the record itself or a database in use, RecordError if it cannot be written.
        """
        target = await asyncio.to_thread(_backup_target, destination, self.path)
        await self._writer.submit(lambda: self._backup(target))

    async def delete_session(self, session: str) -> None:
        """Remove a session and the blobs that no other session refers to. The room is given back by `vacuum`."""
        await self._writer.transact(lambda: self._delete(session))

    async def vacuum(self) -> None:
        """Give the room of deleted sessions back to the disk. Takes as much free room as the record holds."""
        await self._writer.submit(self._vacuum)

    async def close(self) -> None:
        """Finish what was asked for, then close. May be called twice."""
        await self._writer.close()

    async def _save(self) -> str:
        """Copy what a deleted file holds to a new one, once; what was done and is to be done, for a person."""
        if self._saved is None:
            copy = beside(self.path, time.strftime(".saved-%Y%m%d-%H%M%S"))
            try:
                await self.backup(copy)
            except (RecordError, InputError) as error:
                return f"what it held could not be saved yet: {error}"
            self._saved = copy
        return (
            f"all that it held was saved as {self._saved.name}: end the engine (kill {os.getpid()}), rename that file "
            f"to {self.path.name}, and resume the session"
        )

    # --- within the writer's task -------------------------------------------------------------------------------------
    async def _append(self, batch: _Batch) -> _Written:
        seq, digest = await self._tail(batch.session)
        before = self._uncertain.get(batch.session)
        if before and before.tail == (seq, digest) and before.batch.events == batch.events:
            return before  # The commit had reported a failure and yet took place; the caller repeats it.
        rows = []
        for kind, body in batch.events:
            seq += 1
            digest = chain_hash(digest, batch.session, seq, batch.time, kind, SCHEMA, body)
            rows.append((batch.session, seq, batch.time, kind, body, SCHEMA, digest))
        await self._connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        if batch.blobs:
            packed = await asyncio.to_thread(_pack, batch.blobs)
            await self._connection.executemany("INSERT OR IGNORE INTO blobs VALUES (?, ?, ?)", packed)
        written = _Written(batch, [Stamp(row[1], row[2]) for row in rows], (seq, digest))
        self._uncertain[batch.session] = written
        return written

    def _acknowledge(self, written: _Written) -> None:
        session = written.batch.session
        self._uncertain.pop(session, None)
        if written.stamps:
            seq, digest = written.tail
            # The note is an aid: an older one stays true, so a disk that refuses it must not fail the write.
            with contextlib.suppress(OSError):
                write_head(self._note, Head(self._identity, session, seq, digest.hex()))

    async def _tail(self, session: str) -> tuple[int, bytes]:
        query = "SELECT seq, hash FROM events WHERE session = ? ORDER BY seq DESC LIMIT 1"
        for seq, digest in await self._connection.execute_fetchall(query, (session,)):
            return seq, digest
        return 0, GENESIS

    async def _checkpoint(self) -> bool:
        try:
            rows = list(await self._connection.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)"))
        except sqlite3.Error as error:
            if is_busy(error):
                return False
            raise translate(error, self.path) from error
        return not rows[0][0]

    async def _vacuum(self) -> None:
        try:
            await self._connection.execute_fetchall("VACUUM")
        except sqlite3.Error as error:
            raise translate(error, self.path) from error
        await self._checkpoint()

    async def _delete(self, session: str) -> None:
        await self._connection.execute_fetchall("DELETE FROM events WHERE session = ?", (session,))
        used: set[str] = set()
        async with self._connection.execute("SELECT body FROM events") as cursor:
            async for (body,) in cursor:
                used.update(_HASHES.findall(body))
        stored = {name for (name,) in await self._connection.execute_fetchall("SELECT hash FROM blobs")}
        await self._connection.executemany("DELETE FROM blobs WHERE hash = ?", [(name,) for name in stored - used])
        head = read_head(self.path)
        if head and head.session == session:
            # Before the commit: a note that is gone is harmless, one of a deleted event would look like a loss.
            clear_head(self.path)

    async def _backup(self, destination: Path) -> None:
        new = beside(destination, ".new")
        try:
            new.unlink(missing_ok=True)
            target = sqlite3.connect(new, check_same_thread=False)
            try:
                await self._connection.backup(target)
                # Out of WAL mode, the copy is one file that can be moved about and read from read-only places.
                # With its statement finished, since one that is still referred to keeps a closed connection's files.
                await asyncio.to_thread(lambda: target.execute("PRAGMA journal_mode = DELETE").fetchall())
            finally:
                target.close()
            await asyncio.to_thread(replace_durably, new, destination)
        except (sqlite3.Error, OSError) as error:
            new.unlink(missing_ok=True)
            if isinstance(error, sqlite3.Error):
                raise translate_backup(error, self.path, destination) from error
            raise RecordError(f"the backup {destination} cannot be written: {error.strerror}") from error


def _pack(blobs: Sequence[bytes]) -> list[tuple[str, int, bytes]]:
    return [(blob_hash(blob), len(blob), zlib.compress(blob)) for blob in blobs]


def _backup_target(destination: Path, record: Path) -> Path:
    destination = Path(destination).absolute()
    if destination.exists() and destination.samefile(record):
        raise InputError(f"{destination} is the record itself: name another file for the backup")
    if destination.is_dir():
        raise InputError(f"{destination} is a directory: name a file for the backup")
    if beside(destination, "-wal").exists():
        raise InputError(f"{destination} is a database in use: name another file for the backup")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordError(f"the backup {destination} cannot be written: {error.strerror}") from error
    return destination
