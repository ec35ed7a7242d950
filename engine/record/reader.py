"""Read-only access to sessions.db, for viewers, for commands and for the engine's start.

A reader never writes, so a viewer cannot harm or block the engine: it opens the file read-only and takes short read
transactions, since a long one would keep the writer from emptying its WAL. It needs the standard library and the event
types alone, and starts quickly. It follows nothing by itself: `data_version` tells cheaply that there is something new.
"""

import os
import sqlite3
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from engine.errors import InputError
from engine.record.events import Event, decode
from engine.record.head import located
from engine.record.schema import (
    GENESIS,
    STATE_ONLY,
    NotARecord,
    RecordBroken,
    RecordError,
    beside,
    blob_hash,
    chain_hash,
    check_file,
    check_identity,
    error_name,
    translate,
    uri,
)

__all__ = ["NotARecord", "Reader", "RecordBroken", "RecordError", "Row", "SessionRow"]

BATCH = 500
"""Events of one read transaction."""
LARGEST_SEQ = 2**63 - 1


class Row(NamedTuple):
    """An event as it is stored: its number in the session, its Unix time in seconds, its kind, its JSON body."""

    seq: int
    time: float
    kind: str
    body: str

    @property
    def event(self) -> Event:
        """The typed event. Raises UnknownEvent for one of a newer version."""
        return decode(self.kind, self.body)


@dataclass(frozen=True)
class SessionRow:
    """A session in the listing: when it was created, when its last event came (Unix seconds), how many it has."""

    id: str
    created: float
    last: float
    events: int


class Reader:
    """An open record, for one thread at a time. A context manager; every method raises RecordError on trouble."""

    def __init__(self, path: Path) -> None:
        """Open the record. Raises InputError if nothing is there, RecordError if it is no record of ours or broken.

        A record at rest in a read-only directory is read as it lies. If its last events are still in the WAL, SQLite
        needs to make a file beside it to read them; where it cannot, that is said, rather than shown without them.
        """
        self.path = located(path)
        self._by_level: bool | None = None
        check_file(self.path)
        try:
            self._connection = self._open("ro")
        except UnicodeDecodeError as error:
            raise translate(error, self.path) from error
        except sqlite3.Error as error:
            if not error_name(error).startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")):
                raise translate(error, self.path) from error
            self._connection = self._open_at_rest(error)
        try:
            check_identity(self._connection, self.path)
        except RecordError:
            self.close()
            raise

    def _open(self, mode: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            uri(self.path, mode), uri=True, timeout=5.0, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except (sqlite3.Error, UnicodeDecodeError):
            connection.close()
            raise
        return connection

    def _open_at_rest(self, error: sqlite3.Error) -> sqlite3.Connection:
        if not os.access(self.path, os.R_OK, effective_ids=True):
            raise translate(error, self.path) from error
        wal = beside(self.path, "-wal")
        if wal.exists() and wal.stat().st_size:
            raise RecordError(
                f"the last events of {self.path} lie in {wal.name}, which cannot be read in a read-only directory: "
                "copy both files to a writable one and name that with --db"
            ) from error
        try:
            return self._open("ro&immutable=1")
        except (sqlite3.Error, UnicodeDecodeError) as second:
            raise translate(second, self.path) from second

    def close(self) -> None:
        """Close the file. May be called twice."""
        self._connection.close()

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def sessions(self) -> list[SessionRow]:
        """All sessions, the newest first."""
        rows = self._rows(
            "SELECT first.session, first.time, last.time, last.seq FROM events AS first"
            " INDEXED BY one_creation_per_session JOIN events AS last ON last.session = first.session"
            " AND last.seq = (SELECT max(seq) FROM events WHERE session = first.session)"
            " WHERE first.kind = 'session_created' ORDER BY first.time DESC, first.session DESC"
        )
        return [SessionRow(*row) for row in rows]

    def resolve(self, name: str) -> str:
        """The session that "last", a full name or a unique prefix means. Raises InputError, naming what there is."""
        ids = [session.id for session in self.sessions()]
        if not ids:
            raise InputError(f"the record {self.path} holds no session yet: start one with `bilevel run`")
        if name == "last":
            return ids[0]
        if name in ids:
            return name
        found = [session for session in ids if name and session.startswith(name)]
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(f'"{name}" is not unique: it begins {_listed(found)}')
        raise InputError(f'no session begins with "{name}"; there are {_listed(ids)}')

    def events(
        self,
        session: str,
        after: int = 0,
        kinds: Sequence[str] | None = None,
        state_only: bool = False,
        limit: int | None = None,
        upto: int | None = None,
    ) -> Iterator[Row]:
        """The session's events numbered above `after`, to `upto`, in order, at most `limit` of them.

        `kinds` keeps only those kinds; `state_only` leaves out what changes no state (progress, activity) at no cost.
        """
        query, given = _selection(kinds, state_only)
        last = LARGEST_SEQ if upto is None else upto
        left = limit
        while left is None or left > 0:
            size = BATCH if left is None else min(BATCH, left)
            rows = self._rows(f"{query} ORDER BY seq LIMIT ?", session, after, last, *given, size)
            yield from map(Row._make, rows)
            if len(rows) < size:
                return
            after = rows[-1][0]
            left = None if left is None else left - size

    def newest(
        self, session: str, upto: int, limit: int = 1, kinds: Sequence[str] | None = None, state_only: bool = False
    ) -> list[Row]:
        """The last `limit` events numbered `upto` or less, in order; `kinds` and `state_only` as for `events`."""
        query, given = _selection(kinds, state_only)
        rows = self._rows(f"{query} ORDER BY seq DESC LIMIT ?", session, 0, upto, *given, limit)
        return [Row(*row) for row in reversed(rows)]

    def newest_progress(self, session: str, run: str, after: int, upto: int) -> list[Row]:
        """The last progress of a run, if there is one, among the events above `after`, to `upto`."""
        query, given = _selection(["trial_progress"])
        by_run = f"{query} AND json_extract(body, '$.run') = ? ORDER BY seq DESC LIMIT 1"
        return [Row(*row) for row in self._rows(by_run, session, after, upto, *given, run)]

    def newest_activity(self, session: str, level: str, after: int, upto: int) -> list[Row]:
        """The last activity of a level, if there is one, among the events above `after`, to `upto`.

        A record of an elder version lacks the index for this until an engine writes it: there all events are looked at.
        """
        if self._by_level is None:
            query = "SELECT count(*) FROM sqlite_master WHERE name = 'activity_by_level'"
            self._by_level = bool(self._rows(query)[0][0])
        index = "INDEXED BY activity_by_level" if self._by_level else ""
        query = (
            f"SELECT seq, time, kind, body FROM events {index} WHERE session = ? AND kind = 'level_activity'"
            " AND json_extract(body, '$.level') = ? AND seq > ? AND seq <= ? ORDER BY seq DESC LIMIT 1"
        )
        return [Row(*row) for row in self._rows(query, session, level, after, upto)]

    def times(self, session: str, after: int, limit: int) -> list[float]:
        """The Unix times of the events numbered above `after`, in order, at most `limit` of them."""
        query = "SELECT time FROM events WHERE session = ? AND seq > ? ORDER BY seq LIMIT ?"
        return [time for (time,) in self._rows(query, session, after, limit)]

    def last_seq(self, session: str) -> int:
        """The number of the session's last event; 0 if it has none."""
        return int(self._rows("SELECT coalesce(max(seq), 0) FROM events WHERE session = ?", session)[0][0])

    def event_hash(self, session: str, seq: int) -> str | None:
        """The chained hash of one event in hex; None if there is no such event."""
        rows = self._rows("SELECT lower(hex(hash)) FROM events WHERE session = ? AND seq = ?", session, seq)
        return rows[0][0] if rows else None

    def identity(self) -> str:
        """What tells this record from every other; a backup has its original's. Empty where it is damaged."""
        return "".join(str(row[0]) for row in self._rows("SELECT id FROM identity"))

    def data_version(self) -> int:
        """A number that changes when somebody else has written. Costs a few microseconds."""
        return int(self._rows("PRAGMA data_version")[0][0])

    def blob(self, hash: str) -> bytes:
        """The content that has this hash (64 hex digits). Raises RecordError if it is missing or does not match."""
        rows = self._rows("SELECT data FROM blobs WHERE hash = ?", hash)
        if not rows:
            raise RecordError(f"the record {self.path} holds no content {hash[:12]}")
        try:
            data = zlib.decompress(rows[0][0])
        except (zlib.error, TypeError):
            data = b""
        if blob_hash(data) != hash:
            raise RecordBroken(f"the record {self.path} is damaged: content {hash[:12]} is not what was stored")
        return data

    def blob_size(self, hash: str) -> int | None:
        """The bytes of the content that has this hash; None where the record holds none."""
        rows = self._rows("SELECT size FROM blobs WHERE hash = ?", hash)
        return rows[0][0] if rows else None

    def copy_to(self, target: sqlite3.Connection) -> None:
        """Make the empty database `target` a copy of the record as it is at this moment.

        Raises sqlite3.Error: which of the two files failed is for the caller to say (translate_backup).
        """
        self._connection.backup(target)

    def verify(self, session: str) -> int:
        """Recompute the session's chain and return how many events it holds.

        Raises RecordBroken naming the first event that is missing or not what was written.
        """
        expected, digest = 1, GENESIS
        while True:
            rows = self._rows(
                "SELECT seq, time, kind, schema, body, hash FROM events NOT INDEXED"
                " WHERE session = ? AND seq >= ? ORDER BY seq LIMIT ?",
                *(session, expected, BATCH),
            )
            for seq, time, kind, schema, body, stored in rows:
                if seq != expected:
                    raise RecordBroken(f"the record {self.path} is damaged: event {expected} of {session} is missing")
                try:
                    digest = chain_hash(digest, session, seq, time, kind, schema, body)
                except (AttributeError, TypeError, ValueError, struct.error):
                    digest = b""  # A column of another type than was written: damage as well.
                if digest != stored:
                    raise RecordBroken(
                        f"the record {self.path} is damaged: event {seq} of {session} is not what was written"
                    )
                expected += 1
            if len(rows) < BATCH:
                return expected - 1

    def check_pages(self) -> None:
        """Have SQLite check the structure of the whole file. Raises RecordBroken. Takes time with the file's size."""
        found = self._rows("PRAGMA integrity_check(1)")[0][0]
        if found != "ok":
            raise RecordBroken(f"the record {self.path} is damaged: {' '.join(str(found).split())}")

    def _rows(self, query: str, *values: Any) -> list[Any]:
        try:
            return self._connection.execute(query, values).fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise translate(error, self.path) from error


def _selection(kinds: Sequence[str] | None = None, state_only: bool = False) -> tuple[str, Sequence[str]]:
    """The query for a session's events above one number, to another, and what it is given beside these three."""
    condition = f" AND {STATE_ONLY}" if state_only else ""
    if kinds is not None:
        condition += f" AND kind IN ({', '.join('?' * len(kinds))})"
    index = "INDEXED BY state_events" if state_only else ""
    query = f"SELECT seq, time, kind, body FROM events {index} WHERE session = ? AND seq > ? AND seq <= ?{condition}"
    return query, kinds or ()


def _listed(names: list[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
