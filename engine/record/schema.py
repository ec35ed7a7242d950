"""The tables of sessions.db, its hash chain, and the errors of the record: what the writer and the readers share.

The file is SQLite in WAL mode with this program's application id, so that it is never taken for another's. Events are
append-only, numbered from 1 without gaps within their session, and chained: each carries the SHA-256 over its elder's
hash and its own content, so a changed, lost or foreign event is noticed. That a run has one result and an attempt one
start is a unique index, so that no defect above can record a trial twice. This module opens nothing for viewers
(reader.py) and appends nothing (store.py).

    RecordError             the record cannot be read or written; the sentence says why
    ├─ NotARecord           the file is another program's, or none at all (exit code 2)
    ├─ RecordBroken         damage: pages, header or the chain
    ├─ DiskFull             nothing of the write was kept; the same write may be repeated
    ├─ RecordLocked         another process held the record too long; the same write may be repeated
    ├─ DuplicateResult      the run has a result already
    └─ DuplicateAttempt     the attempt was started already
"""

import hashlib
import os
import re
import sqlite3
import struct
import uuid
from pathlib import Path
from urllib.parse import quote

from engine.errors import BilevelError, InputError
from engine.record.head import clear_head

APPLICATION_ID = 0x42494C56
"""The bytes "BILV", at offset 68 of the file."""
VIEW_ONLY_KINDS = ("trial_progress", "level_activity")
"""Kinds that a person watches live and that change no state: most of the events, and skipped when state is folded."""
STATE_ONLY = f"kind NOT IN ({', '.join(repr(kind) for kind in VIEW_ONLY_KINDS)})"
"""The condition of the index `state_events`; SQLite uses that index only for a query with the same words."""
GENESIS = bytes(32)
"""What stands for the elder's hash in a session's first event."""

# The database's version is the number of scripts that it went through; a script is never edited, one is added.
MIGRATIONS = (
    f"""
    CREATE TABLE identity (id TEXT NOT NULL);
    CREATE TABLE events (
        session TEXT NOT NULL,
        seq INTEGER NOT NULL,
        time REAL NOT NULL,
        kind TEXT NOT NULL,
        body TEXT NOT NULL,
        schema INTEGER NOT NULL,
        hash BLOB NOT NULL,
        PRIMARY KEY (session, seq)
    ) WITHOUT ROWID;
    CREATE INDEX state_events ON events (session, seq) WHERE {STATE_ONLY};
    CREATE UNIQUE INDEX one_creation_per_session ON events (session) WHERE kind = 'session_created';
    CREATE UNIQUE INDEX one_result_per_run ON events (session, json_extract(body, '$.run'))
        WHERE kind = 'trial_finished';
    CREATE UNIQUE INDEX one_start_per_attempt
        ON events (session, json_extract(body, '$.run'), json_extract(body, '$.attempt'))
        WHERE kind = 'trial_started';
    CREATE TABLE blobs (hash TEXT PRIMARY KEY, size INTEGER NOT NULL, data BLOB NOT NULL);
    """,
)


class RecordError(BilevelError):
    """The record cannot be read or written."""


class NotARecord(RecordError, InputError):
    """The file that a person named is no record of this program; it was not touched."""


class RecordBroken(RecordError):
    """The record is damaged; recovery.py moves it aside and restores the newest backup."""


class DiskFull(RecordError):
    """There is no room, or the disk failed: nothing of the write was kept, and it may be repeated as it was."""


class RecordLocked(RecordError):
    """Another process kept the record locked beyond the writer's patience; the write may be repeated as it was."""


class DuplicateResult(RecordError):
    """A run has its result already; nothing of the write was kept."""


class DuplicateAttempt(RecordError):
    """An attempt of a run was started already; nothing of the write was kept."""


_UNIQUE: dict[str, tuple[type[RecordError], str]] = {
    "one_result_per_run": (DuplicateResult, "a run of this session has its result already: a second one was refused"),
    "one_start_per_attempt": (DuplicateAttempt, "this attempt of a run was started before: a second start was refused"),
    "events.session": (RecordError, "a session of this name was created already: choose another name"),
}


def chain_hash(previous: bytes, session: str, seq: int, time: float, kind: str, schema: int, body: str) -> bytes:
    """The 32-byte hash of an event that follows the one with hash `previous`. Lengths are part of what is hashed."""
    texts = [text.encode() for text in (session, kind, body)]
    head = struct.pack(">qdq3q", seq, time, schema, *map(len, texts))
    return hashlib.sha256(b"".join((previous, head, *texts))).digest()


def blob_hash(data: bytes) -> str:
    """The name of a blob: SHA-256 of its plain content, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def uri(path: Path, mode: str) -> str:
    """The SQLite URI of a file: `mode` is "ro", "rw" or another query such as "ro&immutable=1"."""
    return f"file:{quote(str(path.absolute()))}?mode={mode}"


def beside(path: Path, suffix: str) -> Path:
    """The file that belongs to the database under a longer name, such as its "-wal"."""
    return path.with_name(path.name + suffix)


def error_name(error: sqlite3.Error) -> str:
    """SQLite's name of the failure, such as "SQLITE_BUSY"; empty where Python raised it itself."""
    return getattr(error, "sqlite_errorname", None) or ""


def is_busy(error: sqlite3.Error) -> bool:
    """Whether waiting may help: another connection holds the lock."""
    return error_name(error).startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def translate(error: sqlite3.Error | UnicodeDecodeError, path: Path) -> RecordError:
    """The record's own error, with a sentence for a person, for what was raised by SQLite on this file.

    A UnicodeDecodeError comes from a message of SQLite's that quotes a damaged schema.
    """
    if isinstance(error, UnicodeDecodeError):
        return RecordBroken(f"the record {path} is damaged: its schema cannot be read")
    name = error_name(error)
    if is_busy(error):
        return RecordLocked(f"another process holds the record {path} locked: close what else writes to it")
    if name == "SQLITE_FULL":
        return DiskFull(f"the disk is full: the record {path} could not be written; nothing recorded is lost")
    if name.startswith("SQLITE_IOERR"):
        return DiskFull(f"the disk failed or is full ({name}): the record {path} could not be written")
    # The statements are fixed, so one that SQLite does not understand met a damaged schema.
    if (
        name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))
        or name == "SQLITE_ERROR"
        or "decode to UTF-8" in str(error)
    ):
        return RecordBroken(f"the record {path} is damaged: {error}")
    if name.startswith("SQLITE_CONSTRAINT"):
        found = re.search(r"index '(\w+)'|failed: ([\w.]+)$", str(error))
        kind, sentence = _UNIQUE.get((found[1] or found[2]) if found else "", (RecordError, str(error)))
        return kind(sentence)
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return RecordError(f"the record {path} cannot be opened here for this use: check the permissions ({error})")
    return RecordError(f"the record {path} failed: {error}")


def check_identity(connection: sqlite3.Connection, path: Path) -> None:
    """Raise NotARecord for another program's database, RecordError for a newer version's, RecordBroken for damage."""
    try:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise translate(error, path) from error
    if application != APPLICATION_ID:
        raise NotARecord(f"{path} is a database of another program: name another file with --db")
    if version > len(MIGRATIONS):
        raise RecordError(f"the record {path} was written by a newer version of bilevel: update bilevel to open it")


def check_file(path: Path) -> None:
    """Raise InputError if no such file is there, RecordBroken if it is empty, NotARecord if it is no database."""
    if not path.exists():
        raise InputError(f"there is no record at {path}: start a session with `bilevel run`, or name one with --db")
    if not path.is_file():
        raise NotARecord(f"{path} is not a file: name another with --db")
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise RecordError(f"the record {path} cannot be read: {error.strerror}") from error
    if not start:
        raise RecordBroken(f"the record {path} is empty")
    if start != b"SQLite format 3\x00":
        raise NotARecord(f"{path} is not a database: name another with --db, or restore this one from a backup")


def replace_durably(new: Path, destination: Path) -> None:
    """Put `new` in the place of `destination`, on the disk before and after. Raises OSError. Blocks."""
    for path, rename in ((new, False), (destination.parent, True)):
        if rename:
            new.replace(destination)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def prepare(path: Path) -> tuple[Path, str]:
    """Make the database ready for the writer, creating or upgrading it: its absolute path and its identity. Blocks.

    A new one is made under another name and renamed, so an interrupted creation leaves no empty file behind.
    """
    path = Path(path).absolute()
    leftover = beside(path, "-wal")
    if not path.exists() and leftover.exists() and leftover.stat().st_size:
        raise RecordBroken(f"the record {path} is gone, but its {leftover.name} is still there")
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            _create(path)
            clear_head(path)
        check_file(path)
        connection = sqlite3.connect(uri(path, "rw"), uri=True)
        try:
            check_identity(connection, path)
            _migrate(connection)
            row = connection.execute("SELECT id FROM identity").fetchone()
            if row is None:
                raise RecordBroken(f"the record {path} is damaged: its identity is missing")
            return path, str(row[0])
        finally:
            connection.close()
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise translate(error, path) from error
    except OSError as error:
        raise RecordError(f"the record {path} cannot be created: {error.strerror}") from error


def _create(path: Path) -> None:
    new = beside(path, ".new")
    new.unlink(missing_ok=True)
    connection = sqlite3.connect(new)
    try:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        _migrate(connection)
        connection.execute("INSERT INTO identity VALUES (?)", (uuid.uuid4().hex,))
        connection.commit()
    finally:
        connection.close()
    replace_durably(new, path)


def _migrate(connection: sqlite3.Connection) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")
