"""Keeping records: a backup, a table of trials, files written whole or not at all, and clearing away what is old."""

import asyncio
import contextlib
import math
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import BilevelError, InputError
from engine.record.lock import EngineLock, holder
from engine.record.reader import Reader
from engine.record.schema import beside, check_length, replace_durably, translate_backup
from engine.record.view import View, fold

ENDED = ("finished", "failed")


def write_whole(path: Path, data: bytes, *, force: bool) -> None:
    """Write a file in one step. Raises InputError for one that is there (unless `force`) or cannot be written."""
    check_free(path, force=force)
    staged = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        staged = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        mask = os.umask(0)
        os.umask(mask)
        staged.chmod(0o666 & ~mask)
        replace_durably(staged, path)
    except OSError as error:
        if staged is not None:
            staged.unlink(missing_ok=True)
        raise InputError(f"{path} cannot be written: {error.strerror}") from None


def check_free(path: Path, *, force: bool) -> None:
    """Raise InputError when something is at `path` that may not be replaced, or there is no directory for it."""
    if not path.parent.is_dir():
        raise InputError(f"{path} cannot be written: there is no directory {path.parent}")
    if path.is_dir():
        raise InputError(f"{path} is a directory: name a file")
    if path.exists() and not force:
        raise InputError(f"{path} exists: name another file, or replace it with --force")


def results_table(view: View) -> str:
    """results.tsv as text: a header, then one line a trial."""
    from engine.training.results import Result, write_results

    rows = [
        Result(
            trial.commit,
            trial.metric,
            None if trial.peak_memory_mb is None else trial.peak_memory_mb / 1024,
            trial.status,
            trial.hypothesis or ("baseline" if trial.number == 0 else f"trial {trial.number}"),
        )
        for trial in view.history
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.tsv"
        write_results(path, view.target["metric"]["name"], rows)
        return path.read_text(encoding="utf-8")


def backup(db: Path, destination: Path, *, force: bool) -> int:
    """Copy the record, as it is at this moment, to one self-contained file; its size in bytes.

    An engine may be writing meanwhile. Raises InputError for a destination that is taken, RecordError for trouble.
    """
    destination = destination.absolute()
    if destination.exists() and destination.samefile(db):
        raise InputError(f"{destination} is the record itself: name another file for the backup")
    check_free(destination, force=force)
    new = beside(destination, ".new")
    check_length(new)
    try:
        with Reader(db) as record:
            new.unlink(missing_ok=True)
            _copy(record, new)
        replace_durably(new, destination)
        return destination.stat().st_size
    except sqlite3.Error as error:
        raise translate_backup(error, db, destination) from error
    except OSError as error:
        raise InputError(f"the backup {destination} cannot be written: {error.strerror}") from None
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)


def _copy(record: Reader, new: Path) -> None:
    new.touch()  # where it may not be made, the system says why; SQLite would not
    target = sqlite3.connect(new)
    try:
        record.copy_to(target)
        # Out of WAL mode, the copy is one file that can be moved about and read from read-only places.
        target.execute("PRAGMA journal_mode = DELETE").fetchall()
    finally:
        target.close()


# --- clearing away ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Prunable:
    """An ended session: when it ended (Unix seconds), its run-time folder (None: gone already) and that one's bytes."""

    session: str
    ended: float
    folder: Path | None
    size: int


def prunable(db: Path, before: float) -> list[Prunable]:
    """The sessions that ended before a Unix time, the oldest first."""
    found = []
    running = holder(db)
    with Reader(db) as reader:
        for row in reader.sessions():
            if row.last < before and not (running and running.session == row.id):
                states = reader.events(row.id, kinds=["session_created", "state_changed"])
                if fold((event.seq, event.time, event.event) for event in states).status in ENDED:
                    folder = db.absolute().parent / ".bilevel" / row.id
                    there = folder.is_dir()
                    found.append(Prunable(row.id, row.last, folder if there else None, _size(folder) if there else 0))
    return sorted(found, key=lambda prunable: prunable.ended)


def prune(db: Path, chosen: Sequence[Prunable], *, events: bool) -> tuple[list[str], int]:
    """Remove the run-time folders of sessions, and with `events` the sessions from the record, for good.

    What has been taken up again since it was chosen is passed over. Returns the sessions that were cleared, and how
    many bytes that gave back. Raises InputError before anything is removed when `events` meets a running engine.
    """
    with EngineLock(db) as lock:
        try:
            lock.acquire("of bilevel prune", "")
        except InputError:
            if events:
                raise
            running = holder(db)
            if running is not None and not running.pid:
                raise
            # Another session's engine: what has ended is not its business, and it goes on while folders are removed.
        still = {each.session: each.ended for each in prunable(db, math.inf)}
        found = [each for each in chosen if still.get(each.session) == each.ended]
        before = db.stat().st_size
        freed = asyncio.run(_remove_all(db, found)) if events else _remove_folders(db, found)
        freed += before - db.stat().st_size if events else 0
    return [each.session for each in found], freed


def _remove_folders(db: Path, sessions: Sequence[Prunable]) -> int:
    freed = 0
    for session in sessions:
        running = holder(db)
        if session.folder is None or not session.folder.is_dir() or (running and running.session == session.session):
            continue
        try:
            shutil.rmtree(session.folder)
        except OSError as error:
            raise BilevelError(f"{session.folder} cannot be removed: {error.strerror}") from None
        freed += session.size
    return freed


async def _remove_all(db: Path, sessions: Sequence[Prunable]) -> int:
    """Events, then folders: whatever goes wrong, no session of the record lacks its files. The bytes of the folders."""
    from engine.record.store import Store

    store = await Store.open(db)
    try:
        for session in sessions:
            await store.delete_session(session.session)
        freed = _remove_folders(db, sessions)
        await store.vacuum()
    finally:
        await store.close()
    return freed


def _size(folder: Path) -> int:
    total = 0
    for base, _, files in os.walk(folder):
        for name in files:
            with contextlib.suppress(OSError):
                total += (Path(base) / name).lstat().st_size
    return total
