"""Making sessions.db ready for its writer: created where it is missing, upgraded where it is old, and held.

A new database is made under another name and renamed, so an interrupted creation leaves no empty file behind. Repairing
a damaged one is recovery.py's.
"""

import os
import sqlite3
import uuid
from pathlib import Path

from engine.record.head import clear_head, located
from engine.record.hold import Hold
from engine.record.schema import (
    APPLICATION_ID,
    MIGRATIONS,
    RecordBroken,
    RecordError,
    beside,
    check_file,
    check_identity,
    check_length,
    replace_durably,
    translate,
    uri,
)

LONGEST_COMPANION = len("/.bilevel" + ".backup.candidate" + ".new")
"""Bytes that the longest name of a database beside the record has more than the record's own."""


def prepare(path: Path) -> tuple[Hold, str]:
    """The database at `path`, links followed, ready to be written: the hold on it and its identity. Blocks.

    Raises RecordInUse if another process writes it, and RecordError with one sentence if it is not a database,
    another program's, a newer version's, or broken.
    """
    path = located(path)
    check_length(path, LONGEST_COMPANION)
    try:
        # A link that leads nowhere was followed already; what is left of one leads in a circle, and is for check_file.
        if not os.path.lexists(path):
            _create(path)
        check_file(path)
    except sqlite3.Error as error:
        raise translate(error, path) from error
    except OSError as error:
        raise RecordError(f"the record {path} cannot be created: {error.strerror}") from error
    hold = Hold(path)
    try:
        return hold, _upgrade(path)
    except BaseException:
        hold.close()
        raise


def _create(path: Path) -> None:
    leftover = beside(path, "-wal")
    if leftover.exists() and leftover.stat().st_size:
        raise RecordBroken(f"the record {path} is gone, but its {leftover.name} is still there")
    path.parent.mkdir(parents=True, exist_ok=True)
    new = beside(path, ".new")
    new.unlink(missing_ok=True)
    new.touch()  # of the two that may refuse, the system says why
    connection = sqlite3.connect(new)
    try:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        _migrate(connection)
        connection.execute("INSERT INTO identity VALUES (?)", (uuid.uuid4().hex,))
        connection.commit()
    finally:
        connection.close()
    replace_durably(new, path)
    clear_head(path)


def _upgrade(path: Path) -> str:
    try:
        connection = sqlite3.connect(uri(path, "rw"), uri=True)
        try:
            check_identity(connection, path)
            _migrate(connection)
            row = connection.execute("SELECT id FROM identity").fetchone()
        finally:
            connection.close()
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise translate(error, path) from error
    if row is None:
        raise RecordBroken(f"the record {path} is damaged: its identity is missing")
    return str(row[0])


def _migrate(connection: sqlite3.Connection) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        connection.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")
