"""The tables of sessions.db, its hash chain, and the errors of the record: what the writer and the readers share.

The file is SQLite in WAL mode with this program's application id, so that it is never taken for another's. Events are
append-only, numbered from 1 without gaps within their session, and chained: each carries the SHA-256 over its elder's
hash and its own content, so a changed, lost or foreign event is noticed. That a run has one result and an attempt one
start is a unique index, so that no defect above can record a trial twice. This module opens nothing for viewers
(reader.py), makes nothing (creation.py) and appends nothing (store.py).

    RecordError             the record cannot be read or written; the sentence says why
    ├─ NotARecord           the file is another program's, or none at all (exit code 2)
    ├─ RecordBroken         damage: pages, header or the chain
    ├─ DiskFull             nothing of the write was kept; the same write may be repeated
    ├─ RecordLocked         another process held the record too long; the same write may be repeated
    ├─ RecordMissing        the file is gone from its place; the same write may be repeated once it is back
    ├─ RecordInUse          another engine writes the file already (exit code 2)
    ├─ DuplicateResult      the run has a result already
    └─ DuplicateAttempt     the attempt was started already
"""

import hashlib
import os
import re
import sqlite3
import stat
import struct
from pathlib import Path
from urllib.parse import quote

from engine.errors import BilevelError, InputError

APPLICATION_ID = 0x42494C56
"""The bytes "BILV", at offset 68 of the file."""
VIEW_ONLY_KINDS = ("trial_progress", "level_activity")
"""Kinds that a person watches live and that change no state: most of the events, and skipped when state is folded."""
STATE_ONLY = f"kind NOT IN ({', '.join(repr(kind) for kind in VIEW_ONLY_KINDS)})"
"""The condition of the index `state_events`; SQLite uses that index only for a query with the same words."""
HEADER = b"SQLite format 3\x00"
"""What every database begins with."""
LONGEST_PATH = 504
"""Bytes of a path that SQLite opens: its 512, less what it appends for its journal."""
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
    """
    CREATE INDEX activity_by_level ON events (session, json_extract(body, '$.level'), seq)
        WHERE kind = 'level_activity';
    """,
)


class RecordError(BilevelError):
    """The record cannot be read or written."""

    def __init__(self, sentence: str) -> None:
        super().__init__(printable(sentence))


class NotARecord(RecordError, InputError):
    """The file that a person named is no record of this program; it was not touched."""


class RecordBroken(RecordError):
    """The record is damaged; recovery.py moves it aside and restores the newest backup."""


class DiskFull(RecordError):
    """There is no room, or the disk failed: nothing of the write was kept, and it may be repeated as it was."""


class RecordLocked(RecordError):
    """Another process kept the record locked beyond the writer's patience; the write may be repeated as it was."""


class RecordMissing(RecordError):
    """The file was renamed, replaced or `deleted` while it was open: nothing was written, and nothing was created."""

    def __init__(self, sentence: str, *, deleted: bool) -> None:
        super().__init__(sentence)
        self.deleted = deleted


class RecordInUse(RecordError, InputError):
    """Another engine writes this very file, perhaps under another name."""


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
    return f"file:{quote(os.fsencode(path.absolute()))}?mode={mode}"


def printable(text: str) -> str:
    """The text as it can be written in UTF-8: what a file name has of other bytes is replaced."""
    return text.encode("utf-8", "replace").decode()


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
    if name == "SQLITE_NOTADB" and not has_header(path):
        return NotARecord(f"{path} is not a database: name another with --db, or restore this one from a backup")
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


def translate_backup(error: sqlite3.Error, record: Path, backup: Path) -> RecordError:
    """The same for a failure to copy `record` to `backup`: the sentence names the file that failed."""
    name = error_name(error)
    if is_busy(error) or name.startswith(
        ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_IOERR_READ", "SQLITE_IOERR_SHORT")
    ):
        return translate(error, record)
    if name == "SQLITE_FULL":
        return DiskFull(f"the disk is full: the backup {backup} could not be written")
    return RecordError(f"the backup {backup} cannot be written: {error}")


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


def check_length(path: Path, more: int = 0) -> None:
    """Raise InputError for a path that SQLite does not take, with `more` bytes appended to it."""
    size = len(os.fsencode(path))
    if size + more > LONGEST_PATH:
        raise InputError(
            f"the path {printable(str(path))} has {size} bytes, more than the {LONGEST_PATH - more} that SQLite has "
            "room for: use a shorter one"
        )


def check_file(path: Path) -> None:
    """Raise InputError if no such file is there, RecordBroken if it is empty, NotARecord if it is none.

    The file is not opened: closing it would end the locks that SQLite holds on it for this process.
    """
    check_length(path)
    try:
        found = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(
            f"there is no record at {printable(str(path))}: start a session with `bilevel run`, or name one with --db"
        ) from error
    except OSError as error:
        raise RecordError(f"the record {path} cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(found.st_mode):
        raise NotARecord(f"{path} is not a file: name another with --db")
    if not found.st_size:
        raise RecordBroken(f"the record {path} is empty")


def has_header(path: Path) -> bool:
    """Whether the file begins as a database does. For a file that this process has not open as one (see check_file)."""
    try:
        with path.open("rb") as file:
            return file.read(len(HEADER)) == HEADER
    except OSError as error:
        raise RecordError(f"the record {path} cannot be read: {error.strerror}") from error


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
